//! The compiler as a whole, down to the maps.

mod capacity;
mod frontends;
mod ids;
mod random;
mod scale;
mod scene;
mod services;
