//! How large a client's messages may be, and in how many pieces they may come.

/// What one message may consist of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameLimits {
    /// Largest payload of a frame, in bytes.
    pub(crate) frame_bytes: usize,
    /// Largest message in bytes, over all its fragments.
    pub(crate) message_bytes: usize,
    /// Most fragments in one message. Each costs the sender 7 bytes and us a turn; no client we know sends many.
    pub(crate) fragments: usize,
}

impl Default for FrameLimits {
    /// SECURITY requirements 17 and 18.
    fn default() -> Self {
        FrameLimits { frame_bytes: 64 * 1024, message_bytes: 64 * 1024, fragments: 64 }
    }
}
