//! A file system that runs full, in memory.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// A file system of its own, in memory. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of a size such as `8m` on a folder, which it makes; an error says why this process may not.
    pub fn mount(folder: PathBuf, size: &str) -> Result<Self, String> {
        fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&folder)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(folder)),
            other => Err(format!("{other:?}")),
        }
    }

    /// Mounts it anew with an option such as `ro`.
    pub fn remount(&self, option: &str) {
        let output = Command::new("mount")
            .args(["-o", &format!("remount,{option}")])
            .arg(&self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        while file.write_all(&[7]).is_ok() {}
    }

    /// Takes away what [`SmallDisk::fill`] wrote.
    pub fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
