//! Where a store lies.

use std::path::Path;

/// Kinds of file systems of which locks and shared memory do not reach other machines, or not reliably.
const NETWORK: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "lustre",
    "gpfs",
    "beegfs",
    "afs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "fuse.ceph",
    "orangefs",
    "pvfs2",
];

/// The kind of network file system that a path lies on, if it does.
pub fn network_file_system(path: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    network_among(&mounts, &std::fs::canonicalize(folder).ok()?)
}

/// The same of an absolute path, by a table of mounts: of those that hold the path the longest, and of equal ones the last.
fn network_among(mounts: &str, path: &Path) -> Option<String> {
    let mut found: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(at), Some(kind)) = (words.next(), words.next()) else { continue };
        // Blanks are written so.
        let at = at.replace("\\040", " ");
        if path.starts_with(&at) && found.is_none_or(|(length, _)| at.len() >= length) {
            found = Some((at.len(), kind));
        }
    }
    found.filter(|(_, kind)| NETWORK.contains(kind)).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_says_what_a_path_lies_on() {
        let mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb /home/me/scratch xfs rw 0 0\nx /with\\040blank lustre rw 0 0\n";
        let kind = |path: &str| network_among(mounts, Path::new(path));
        assert_eq!(kind("/home/me"), Some("nfs4".into()));
        assert_eq!(kind("/home/me/scratch/x"), None);
        assert_eq!(kind("/tmp"), None);
        assert_eq!(kind("/with blank/x"), Some("lustre".into()));
    }
}
