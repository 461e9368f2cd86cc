//! Bytes that a model takes compressed, as it travels.

/// The level that the `zstd` program takes without being told.
const LEVEL: i32 = 3;

/// Bytes after compression by zstd at level 3 in one frame. The library is compiled in, so that the count is the same everywhere.
pub fn zstd_bytes(bytes: &[u8]) -> std::io::Result<u64> {
    Ok(zstd::bulk::compress(bytes, LEVEL)?.len() as u64)
}
