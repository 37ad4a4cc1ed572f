//! The memory of this process, as the kernel counts it.

/// Figures of `/proc/self/status`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// The most that was ever resident (`VmHWM`), mapped files included.
    pub peak_resident: u64,
    /// Anonymous memory resident now (`RssAnon`): what the process itself holds.
    pub anonymous: u64,
}

impl ProcessMemory {
    /// The figures now; `None` where the system has no such file.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let figure = |name: &str| {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { peak_resident: figure("VmHWM")?, anonymous: figure("RssAnon")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_figures() {
        let status = "Name:\tacequia\nVmHWM:\t  2048 kB\nVmRSS:\t 9 kB\nRssAnon:\t     512 kB\n";
        let memory = ProcessMemory { peak_resident: 2 << 20, anonymous: 512 << 10 };
        assert_eq!(ProcessMemory::parse(status), Some(memory));
        assert_eq!(ProcessMemory::parse("VmHWM: many kB\n"), None);
    }
}
