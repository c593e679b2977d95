//! What people may do with each other, in the product's own words. Nothing in here knows HTTP, JSON or a socket: the
//! dialects translate.

pub(crate) mod draw_window;
