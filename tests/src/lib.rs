//! What the end-to-end tests stand on: real git servers, fakes for services that cannot run here,
//! and a driver for the real `tidegate` binary.
