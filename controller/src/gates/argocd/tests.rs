//! One test per row, and what must hold for all of them.

mod fixture;
mod frozen;
mod matching;
mod properties;
mod reading;
mod refreshing;
mod rows;
mod sampling;
mod times;
