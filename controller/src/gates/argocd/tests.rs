//! One test per row, and what must hold for all of them.

mod by_its_api;
mod fixture;
mod matching;
mod properties;
mod reading;
mod refreshing;
mod rows;
mod times;
