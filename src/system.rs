//! What operating system this is, as far as advice depends on it.

use std::path::Path;

/// Whether packages are installed with apt-get here: Debian, Ubuntu and their kin.
pub(crate) fn is_debian() -> bool {
    cfg!(target_os = "linux") && Path::new("/etc/debian_version").exists()
}
