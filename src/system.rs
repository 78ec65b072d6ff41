//! What the machine and its operating system are: memory to spare, how packages are installed.

/// Whether packages are installed with apt-get here: Debian, Ubuntu and their kin.
#[cfg(any(feature = "data", feature = "gpu"))]
pub(crate) fn is_debian() -> bool {
    cfg!(target_os = "linux") && std::path::Path::new("/etc/debian_version").exists()
}

/// Bytes of memory that the machine has to spare, within the limits of the process's control group; `None` where the
/// system does not say.
#[cfg(feature = "runs")]
pub fn available_memory() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // Without a limit of its own a group says what the machine has; and what is "free" leaves out the files that the
    // system keeps in memory while nobody wants it.
    let of_group = (system.cgroup_limits())
        .filter(|group| group.total_memory < system.total_memory())
        .map(|group| group.total_memory.saturating_sub(group.rss));
    let of_machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    of_machine.map(|bytes| of_group.map_or(bytes, |group| group.min(bytes)))
}

/// Bytes of this process that are in memory now; `None` where the system does not say, and without the feature `runs`.
#[cfg(feature = "runs")]
pub fn resident_memory() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = sysinfo::System::new();
    let memory_alone = sysinfo::ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), false, memory_alone);
    system.process(pid).map(sysinfo::Process::memory)
}

/// As with the feature `runs`, without which nobody is asked.
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
