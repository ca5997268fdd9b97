//! Hosts that qemu boots: with a kernel of their own, and so with cgroup controllers.
//!
//! The tree is the one that systemd-nspawn boots, with Debian's kernel and a way in. The machine
//! has one network card whose other end is a network namespace with nothing in it but `lo`: what
//! connects to port 80 in there reaches port 80 of the host, and the host reaches nobody. Programs
//! are run through one ssh connection, whose other end is a dropbear in the host.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::exec::PATH;
use crate::base;
use crate::checkout::Checkout;

/// Emulated, on a machine that compiles meanwhile.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// As for a boot.
pub(super) const POWEROFF_LIMIT: Duration = Duration::from_secs(60);

/// Never written but where something is: a sparse file.
const DISK_SIZE: &str = "4G";

/// Unpacked over the tree, without their scripts. The kernel's own package has its version in its
/// name.
const PACKAGES: &[&str] = &["kmod", "libkmod2", "dropbear-bin", "libtomcrypt1", "libtommath1"];

/// What names that package.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The keys of the suite that the tree is of; apt of an older Debian does not take them for its own.
const SIGNED_BY: &str = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ";

/// Files of the tree, each with its text.
const FILES: &[(&str, &str)] = &[
    ("etc/fstab", "/dev/nvme0n1 / ext4 defaults 0 1\n"),
    ("etc/modules-load.d/kennel-vm.conf", "virtio_net\n"),
    (
        "etc/systemd/system/kennel-vm-network.service",
        "[Unit]\n\
         Description=The way into this machine\n\
         DefaultDependencies=no\n\
         Requires=systemd-modules-load.service\n\
         After=systemd-modules-load.service\n\
         Before=sysinit.target\n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=ip address add 10.0.2.15/24 dev eth0\n\
         ExecStart=ip link set eth0 up\n",
    ),
    (
        "etc/systemd/system/kennel-vm-exec.socket",
        "[Socket]\n\
         ListenStream=10.0.2.15:22\n\
         FreeBind=yes\n\
         Accept=yes\n\
         TriggerLimitIntervalSec=0\n",
    ),
    // Whoever looks into a host that is starved, or out of memory, must get in.
    (
        "etc/systemd/system/kennel-vm-exec@.service",
        "[Unit]\n\
         CollectMode=inactive-or-failed\n\
         [Service]\n\
         ExecStart=-/usr/sbin/dropbear -i -R -E -s\n\
         StandardInput=socket\n\
         StandardError=journal\n\
         OOMScoreAdjust=-1000\n\
         OOMPolicy=continue\n",
    ),
];

/// Links of the tree, each with where it points.
const LINKS: &[(&str, &str)] = &[
    (
        "etc/systemd/system/sysinit.target.wants/kennel-vm-network.service",
        "../kennel-vm-network.service",
    ),
    ("etc/systemd/system/sockets.target.wants/kennel-vm-exec.socket", "../kennel-vm-exec.socket"),
    ("etc/systemd/system/serial-getty@ttyS0.service", "/dev/null"),
    // Each loads a module of hardware that is not there, and takes seconds under emulation.
    ("etc/systemd/system/modprobe@.service", "/dev/null"),
];

/// Why no such host can be booted here; none if one can, as far as can be told without trying.
#[must_use]
pub fn missing() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some(format!("virtual machines are x86-64, this machine is {}", {
            std::env::consts::ARCH
        }));
    }
    let layer = || {
        crate::needs::install_for_vm()?;
        ensure_layer(&Checkout::find()?).context("there is no kernel for it")
    };
    layer().err().map(|err| format!("{err:#}"))
}

/// Debian's kernel and what else a virtual machine has and a container has not: made once, kept
/// under `target/`.
pub(super) fn ensure_layer(checkout: &Checkout) -> Result<PathBuf> {
    let all = checkout.target().join("vm");
    fs::create_dir_all(&all).with_context(|| format!("cannot make {}", all.display()))?;
    let lock = File::create(all.join("lock"))?;
    lock.lock().context("cannot lock target/vm")?;
    // From where the tree itself came.
    let sources = base::ensure(checkout)?.join("etc/apt/sources.list");
    let sources = fs::read_to_string(&sources)
        .with_context(|| format!("cannot read {}", sources.display()))?
        .replace("deb ", SIGNED_BY);
    let recipe = hex::encode(Sha256::digest(format!("{KERNEL} {PACKAGES:?} {sources}")));
    let layer = all.join(format!("layer-{}", recipe.get(..12).unwrap_or_default()));
    if layer.is_dir() {
        return Ok(layer);
    }
    println!("fetching Debian's kernel once");
    let apt = Apt::in_folder(&all.join("apt"), &sources)?;
    apt.run("apt-get", &["-qq", "update"])?;
    let depends = apt.run("apt-cache", &["depends", "--important", KERNEL])?;
    let kernel = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .with_context(|| format!("{KERNEL} depends on no kernel:\n{depends}"))?;
    let kernel = format!("linux-image-{kernel}");
    let mut download = vec!["-qq", "download", &kernel];
    download.extend(PACKAGES);
    apt.run("apt-get", &download)?;
    let unfinished = layer.with_extension("unfinished");
    base::remove_tree(&unfinished)?;
    fs::create_dir_all(&unfinished)?;
    for package in fs::read_dir(&apt.folder)?.flatten() {
        if package.path().extension().is_some_and(|it| it == "deb") {
            run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&unfinished))?;
        }
    }
    base::remove_tree(&apt.folder)?;
    fs::rename(&unfinished, &layer)?;
    Ok(layer)
}

/// An apt of its own: its lists, its downloads, Debian 13 whatever this machine is.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn in_folder(folder: &Path, sources: &str) -> Result<Self> {
        base::remove_tree(folder)?;
        for below in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(below))?;
        }
        fs::write(folder.join("sources.list"), sources)?;
        fs::write(folder.join("status"), "")?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        run(Command::new(program)
            .current_dir(&self.folder)
            .arg(format!("-oDir::Etc::SourceList={}", at("sources.list")))
            .arg("-oDir::Etc::SourceParts=/dev/null")
            .arg(format!("-oDir::State::Lists={}", at("lists")))
            .arg(format!("-oDir::State::Status={}", at("status")))
            .arg(format!("-oDir::Cache={}", at("cache")))
            // This folder need not be open to the user that apt would download as.
            .args(["-oAPT::Sandbox::User=root", "-oAPT::Architecture=amd64"])
            .args(args))
    }
}

/// Makes of a tree what a virtual machine boots, and a disk of that.
pub(super) fn make_disk(layer: &Path, dir: &Path, root: &Path) -> Result<()> {
    run(Command::new("cp").arg("-a").arg(layer.join("usr")).arg(root))?;
    let versions = fs::read_dir(root.join("usr/lib/modules"))?.flatten();
    for version in versions {
        run(Command::new("chroot").arg(root).arg("depmod").arg(version.file_name()))?;
    }
    for (path, text) in FILES {
        base::write(&root.join(path), text)?;
    }
    for (path, to) in LINKS {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        symlink(to, &path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    fs::create_dir_all(root.join("etc/dropbear"))?;
    let key = dir.join("key");
    let _ = fs::remove_file(&key);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    let ssh = root.join("root/.ssh");
    base::write(&ssh.join("authorized_keys"), fs::read(dir.join("key.pub"))?)?;
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700))?;
    let unfinished = dir.join("disk.unfinished");
    let _ = fs::remove_file(&unfinished);
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0,lazy_itable_init=0", "-d"])
        .args([root, &unfinished])
        .arg(DISK_SIZE))?;
    fs::rename(unfinished, disk(dir))?;
    // What runs is on the disk: nobody shall read here what was there before.
    base::remove_tree(root)
}

pub(super) fn disk(dir: &Path) -> PathBuf {
    dir.join("disk.img")
}

/// What boots it, in a network namespace with `lo` alone.
pub(super) fn command(layer: &Path, dir: &Path) -> Result<Vec<String>> {
    let kernel = fs::read_dir(layer.join("boot"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"vmlinuz"))
        })
        .with_context(|| format!("{} holds no kernel", layer.display()))?;
    let (accelerator, cpu) = match has_kvm() {
        true => ("kvm", "host"),
        // Emulated, cmpxchg16b faults now and then.
        false => ("tcg,thread=multi,tb-size=512", "max,-cx16"),
    };
    let disk = format!("file={},format=raw,if=none,id=disk,cache=unsafe", disk(dir).display());
    let mut command: Vec<String> =
        ["unshare", "--net", "sh", "-ec", "ip link set lo up; exec \"$@\"", "sh"]
            .map(String::from)
            .to_vec();
    command.extend(
        [
            "qemu-system-x86_64",
            "-M",
            "q35",
            "-accel",
            accelerator,
            "-cpu",
            cpu,
            "-smp",
            "2",
            "-m",
            "2G",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
            "-drive",
            &disk,
            "-device",
            "nvme,drive=disk,serial=kennel",
            "-netdev",
            "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:22-:22,hostfwd=tcp:127.0.0.1:80-:80",
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
            "-kernel",
            &kernel.display().to_string(),
            "-append",
            "root=/dev/nvme0n1 rw console=ttyS0 panic=-1 mitigations=off quiet \
             random.trust_cpu=on nokaslr net.ifnames=0",
        ]
        .map(String::from),
    );
    Ok(command)
}

/// Whether the processor can do it: a device file alone may be there without.
fn has_kvm() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let able = flags.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm"));
    able && File::options().read(true).write(true).open("/dev/kvm").is_ok()
}

/// An ssh that opens the one connection and stays behind, in the cgroup of the host.
pub(super) fn connect(dir: &Path, qemu: i32, cgroup: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-ec", "echo $$ >\"$0\"/cgroup.procs; exec nsenter --net=/proc/\"$1\"/ns/net ssh -f -M -N -F none -S ssh -i key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=30 -o ServerAliveInterval=20 -o ServerAliveCountMax=6 root@127.0.0.1"])
        .arg(cgroup)
        .arg(qemu.to_string())
        // The path of its socket would be too long for the kernel in many a folder.
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A command that runs `argv` in the host, through that connection.
pub(super) fn enter<S: AsRef<str>>(dir: &Path, argv: &[S]) -> Command {
    let mut line = format!("env -i -C /root PATH={PATH} HOME=/root LANG=C.UTF-8");
    if let Ok(term) = std::env::var("TERM") {
        line.push_str(&format!(" TERM={}", quoted(&term)));
    }
    for arg in argv {
        line.push(' ');
        line.push_str(&quoted(arg.as_ref()));
    }
    // So that the shell stays, and says of a signal what shells say.
    line.push_str("; exit $?");
    let mut command = Command::new("ssh");
    // Without the connection it shall fail, not look for a host of that name.
    command
        .args(["-F", "none", "-S", "ssh", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR"])
        .current_dir(dir);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        command.arg("-t");
    }
    command.args(["kennel-vm", "--", &line]);
    command
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let program = command.get_program().display();
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The connection is there.
pub(super) fn is_connected(dir: &Path) -> bool {
    dir.join("ssh").exists()
}

/// Forgets a connection of an earlier boot.
pub(super) fn disconnect(dir: &Path) -> Result<()> {
    let socket = dir.join("ssh");
    let _ = fs::remove_file(&socket);
    ensure!(!socket.exists(), "cannot remove {}", socket.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_each_argument_as_it_is() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
