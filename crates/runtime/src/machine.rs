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

/// Watches how much of the machine others take while something is measured.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Ticks of all CPUs, and those that a hypervisor gave to others; where the operating system tells.
    ticks: Option<[u64; 2]>,
}

impl Watch {
    /// Steal time above this share makes times longer than the machine's own.
    const STOLEN: f64 = 0.01;
    /// Load that leaves no core for what is measured counts, a core being the measurement's own.
    const FREE: f64 = 0.5;

    /// From now on.
    pub fn start() -> Self {
        Self { ticks: ticks() }
    }

    /// What makes the machine unfit for absolute times, each in a line.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let facts = MachineFacts::read();
        if let Some(load) = facts.load.filter(|l| *l > facts.logical_cores as f64 + Self::FREE) {
            found.push(format!(
                "the load is {load:.1} on {} cores: absolute times are too high, ratios to a baseline hold",
                facts.logical_cores
            ));
        }
        if let Some(([all, stolen], [all_before, stolen_before])) = ticks().zip(self.ticks) {
            let share = (stolen - stolen_before.min(stolen)) as f64 / (all - all_before.min(all)).max(1) as f64;
            if share > Self::STOLEN {
                found.push(format!("a hypervisor gave {:.1} % of the CPUs' time to others", share * 100.0));
            }
        }
        found
    }
}

/// Ticks of all CPUs and stolen ones, since the machine started.
fn ticks() -> Option<[u64; 2]> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find(|l| l.starts_with("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|t| t.parse().ok()).collect();
    Some([ticks.iter().sum(), *ticks.get(7)?])
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
