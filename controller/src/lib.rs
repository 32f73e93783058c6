//! The program's rooms: everything that touches the world.
