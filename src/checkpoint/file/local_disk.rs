//! Refuses folders on network file systems, where a lock or a rename may hold on one machine only.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Magic numbers of `statfs(2)` and `linux/magic.h`.
#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 16] = [
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0000_564C, "NCP"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0xBACB_ACBC, "a VMware shared folder"),
    (0x786F_4256, "a VirtualBox shared folder"),
];

/// One magic number for everything from sshfs to NTFS on a local disk.
#[cfg(target_os = "linux")]
const FUSE: u32 = 0x6573_5546;

/// FUSE file systems that keep their files on this machine.
#[cfg(target_os = "linux")]
const LOCAL_FUSE: [&str; 3] = ["fuseblk", "fuse.fuse-overlayfs", "fuse.gocryptfs"];

/// Refuse `folder` where it is on a network file system.
#[cfg(target_os = "linux")]
pub(super) fn require(folder: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    let failed = || format!("cannot examine the checkpoint folder {}", folder.display());
    let found = rustix::fs::statfs(folder).or_error(ErrorKind::Config, failed)?;
    // The numbers have 32 bits; the field is wider or signed on some machines.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let magic = found.f_type as u32;
    let device = std::fs::metadata(folder).or_error(ErrorKind::Config, failed)?.dev();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match network_kind(magic, || mount_type(&mounts(), device)) {
        None => Ok(()),
        Some(kind) => Err(Error::config(format!(
            "the checkpoint folder {} is on a network file system ({kind}), where its locks do not \
             hold: use a folder on a local disk of this machine",
            folder.display()
        ))),
    }
}

/// Other systems have no list of magic numbers; their local disks are taken on trust.
#[cfg(not(target_os = "linux"))]
pub(super) fn require(folder: &Path) -> Result<()> {
    std::fs::metadata(folder)
        .or_error(ErrorKind::Config, || format!("cannot examine {}", folder.display()))?;
    Ok(())
}

/// What network file system it is; `None` for a local one. `fuse_type` is asked for FUSE only.
#[cfg(target_os = "linux")]
fn network_kind(magic: u32, fuse_type: impl FnOnce() -> Option<String>) -> Option<String> {
    if magic == FUSE {
        return match fuse_type() {
            Some(kind) if LOCAL_FUSE.contains(&kind.as_str()) => None,
            Some(kind) => Some(kind),
            None => Some("FUSE".into()),
        };
    }
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).into())
}

/// Type of the file system mounted from `device`, by the text of `/proc/self/mountinfo`.
#[cfg(target_os = "linux")]
fn mount_type(mounts: &str, device: u64) -> Option<String> {
    let wanted = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        (mount.split(' ').nth(2)? == wanted).then(|| kind.split(' ').next())?.map(Into::into)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        21 98 0:19 / /proc rw,nosuid - proc proc rw\n\
        98 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\n\
        120 98 0:52 / /mnt/remote rw - fuse.sshfs host:/data rw\n\
        121 98 0:53 / /mnt/usb rw shared:7 master:2 - fuseblk /dev/sdb1 rw\n";

    fn kind(magic: u32, device: (u32, u32)) -> Option<String> {
        network_kind(magic, || mount_type(MOUNTS, rustix::fs::makedev(device.0, device.1)))
    }

    #[test]
    fn network_file_systems_are_named_and_local_ones_pass() {
        assert_eq!(kind(0x6969, (0, 40)).as_deref(), Some("NFS"));
        assert_eq!(kind(0xFF53_4D42, (0, 40)).as_deref(), Some("CIFS"));
        assert_eq!(kind(0x0102_1997, (0, 40)).as_deref(), Some("9p"));
        assert_eq!(kind(FUSE, (0, 52)).as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind(FUSE, (0, 99)).as_deref(), Some("FUSE"), "not in the list of mounts");
        assert_eq!(kind(FUSE, (0, 53)), None, "a local disk");
        assert_eq!(kind(0xEF53, (259, 1)), None, "ext4");
        assert_eq!(kind(0x0102_1994, (0, 1)), None, "tmpfs");
    }
}
