//! The compiler as a whole, down to the maps.

mod capacity;
mod ids;
mod random;
mod scale;
mod services;
