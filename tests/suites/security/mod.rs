//! Security requirements that need a running node; each test bears its requirement's number.

mod doors;
mod input;
mod leaks;
mod limits;
mod sign_ins;
mod sources;
