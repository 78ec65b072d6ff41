//! Queries the operating system: available memory, package manager.

/// Whether the system uses apt-get: Debian, Ubuntu and derivatives.
#[cfg(any(feature = "data", feature = "gpu"))]
pub(crate) fn is_debian() -> bool {
    cfg!(target_os = "linux") && std::path::Path::new("/etc/debian_version").exists()
}

/// Available memory in bytes, within the limits of the process's control group; `None` if unknown.
#[cfg(feature = "runs")]
pub fn available_memory() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // A group without a limit reports the machine's total. "Free" memory excludes the page cache, which is available.
    let of_group = (system.cgroup_limits())
        .filter(|group| group.total_memory < system.total_memory())
        .map(|group| group.total_memory.saturating_sub(group.rss));
    let of_machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    of_machine.map(|bytes| of_group.map_or(bytes, |group| group.min(bytes)))
}

/// Resident memory of this process in bytes; `None` if unknown or without the feature `runs`.
#[cfg(feature = "runs")]
pub fn resident_memory() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new();
    let memory_alone = sysinfo::ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), false, memory_alone);
    system.process(pid).map(sysinfo::Process::memory)
}

/// Resident memory; always `None` without the feature `runs`.
#[cfg(not(feature = "runs"))]
pub fn resident_memory() -> Option<u64> {
    None
}

#[cfg(all(test, feature = "runs"))]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_to_spare() {
        let bytes = available_memory().unwrap();
        assert!((1 << 20..1 << 50).contains(&bytes), "{bytes}");
    }
}
