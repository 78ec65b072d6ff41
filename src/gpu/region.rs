//! Parts of buffers.

use std::num::NonZeroU64;

/// A part of a buffer that kernels bind by itself; most are whole buffers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Region {
    buffer: wgpu::Buffer,
    offset: u64,
    bytes: u64,
}

impl Region {
    /// A whole buffer.
    pub fn whole(buffer: wgpu::Buffer) -> Self {
        let bytes = buffer.size();
        Region { buffer, offset: 0, bytes }
    }

    /// `bytes` bytes of it from `offset` on.
    pub fn part(&self, offset: u64, bytes: u64) -> Self {
        Region { buffer: self.buffer.clone(), offset: self.offset + offset, bytes }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.bytes
    }

    /// The buffer that it is a part of.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Whether they share bytes.
    pub fn overlaps(&self, other: &Region) -> bool {
        self.buffer == other.buffer
            && self.offset < other.offset + other.bytes
            && other.offset < self.offset + self.bytes
    }

    /// What a bind group refers to.
    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        let size = NonZeroU64::new(self.bytes);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.buffer, offset: self.offset, size })
    }

    /// Zeroes it from byte `from` on.
    pub fn clear(&self, encoder: &mut wgpu::CommandEncoder, from: u64) {
        encoder.clear_buffer(&self.buffer, self.offset + from, Some(self.bytes - from));
    }

    /// Overwrites it from byte `at` on.
    pub fn write(&self, queue: &wgpu::Queue, at: u64, bytes: &[u8]) {
        queue.write_buffer(&self.buffer, self.offset + at, bytes);
    }

    /// Copies `bytes` bytes from byte `from` on to byte `at` of another.
    pub fn copy(&self, encoder: &mut wgpu::CommandEncoder, from: u64, to: &Region, at: u64, bytes: u64) {
        encoder.copy_buffer_to_buffer(&self.buffer, self.offset + from, &to.buffer, to.offset + at, bytes);
    }
}
