//! How bytes reach clients and come back: our own thin layer over TCP, since what it costs per connection and per message
//! is what one node can carry.

pub(crate) mod websocket;
