//! Facts about this machine that figures carry and `doctor` shows. Reads the operating system, never guesses: what is not
//! known is empty or absent.

use std::{fs, thread::available_parallelism};

/// What this machine is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineFacts {
    /// CPU model as the operating system names it; the architecture where it does not.
    pub cpu: String,
    /// Instruction-set extensions that matter for inference, of the list in [`MachineFacts::read`].
    pub isa: Vec<String>,
    /// CPUs that this process may use.
    pub logical_cores: usize,
    /// Load average over the last minute, where the operating system tells.
    pub load: Option<f64>,
    /// Memory in bytes, where the operating system tells.
    pub memory_bytes: Option<u64>,
}

impl MachineFacts {
    /// Reads them. The extensions looked for: avx2, fma, avx512f, avx512vnni, avxvnni; neon, dotprod, i8mm, sve.
    pub fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = ["model name", "Model", "Hardware", "cpu model"].iter().find_map(|key| field(&cpuinfo, key));
        let load = fs::read_to_string("/proc/loadavg").ok();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cpu: cpu.unwrap_or(std::env::consts::ARCH).to_owned(),
            isa: isa(),
            logical_cores: available_parallelism().map_or(1, usize::from),
            load: load.and_then(|l| l.split(' ').next()?.parse().ok()),
            memory_bytes: kibibytes(&meminfo, "MemTotal"),
        }
    }
}

/// Most memory that this process has held resident, in bytes (`VmHWM`); Linux only.
pub fn peak_resident_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// The value of the first `key : value` line.
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = |line: &'t str| line.split_once(':').filter(|(k, _)| k.trim() == key).map(|(_, v)| v.trim());
    text.lines().find_map(value).filter(|v| !v.is_empty())
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(target_arch = "x86_64")]
fn isa() -> Vec<String> {
    use std::arch::is_x86_feature_detected as has;
    let found = [
        ("avx2", has!("avx2")),
        ("fma", has!("fma")),
        ("avx512f", has!("avx512f")),
        ("avx512vnni", has!("avx512vnni")),
        ("avxvnni", has!("avxvnni")),
    ];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(target_arch = "aarch64")]
fn isa() -> Vec<String> {
    use std::arch::is_aarch64_feature_detected as has;
    let found = [("neon", has!("neon")), ("dotprod", has!("dotprod")), ("i8mm", has!("i8mm")), ("sve", has!("sve"))];
    found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn isa() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_the_start_of_another_is_not_taken_for_it() {
        assert_eq!(field("model\t\t: 85\nmodel name\t: Some CPU\n", "model name"), Some("Some CPU"));
        assert_eq!(kibibytes("VmHWMx: 1 kB\nVmHWM:\t    12 kB\n", "VmHWM"), Some(12288));
        assert_eq!(kibibytes("VmHWM:\t many kB\n", "VmHWM"), None);
    }

    #[test]
    fn the_machine_has_a_name_and_a_core() {
        let facts = MachineFacts::read();
        assert!(!facts.cpu.is_empty() && facts.logical_cores >= 1);
    }
}
