//! Every suite in one binary: building and linking it once is what takes the time.

mod lab;
mod tidy;
