//! The words of a mount's options, as the OCI runtime specification has them.

use rustix::mount::MountPropagationFlags;

use crate::sys::mounts::Attributes;

/// What they come to.
#[derive(Debug)]
pub(super) struct Options<'a> {
    /// Attributes of the mount itself.
    pub set: Attributes,
    /// Attributes of all mounts below it, too.
    pub set_below: Attributes,
    /// Whether what is mounted below the source comes with it.
    pub recursive: bool,
    /// Whether it shows and takes later mounts; by default neither.
    pub propagation: MountPropagationFlags,
    /// Whether that goes for what is mounted below, too.
    pub recursive_propagation: bool,
    /// What is the file system's own to understand.
    pub data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Later words win.
    pub fn read(words: &'a [String]) -> Self {
        let mut options = Options {
            set: Attributes::empty(),
            set_below: Attributes::empty(),
            recursive: false,
            propagation: MountPropagationFlags::PRIVATE,
            recursive_propagation: true,
            data: Vec::new(),
        };
        for word in words {
            options.take(word);
        }
        options
    }

    fn take(&mut self, word: &'a str) {
        use Attributes as A;
        let atime = A::MOUNT_ATTR__ATIME | A::MOUNT_ATTR_NOATIME | A::MOUNT_ATTR_STRICTATIME;
        match word {
            "ro" => self.set |= A::MOUNT_ATTR_RDONLY,
            "rw" => self.set -= A::MOUNT_ATTR_RDONLY,
            "rro" => self.set_below |= A::MOUNT_ATTR_RDONLY,
            "rnodev" => self.set_below |= A::MOUNT_ATTR_NODEV,
            "nosuid" => self.set |= A::MOUNT_ATTR_NOSUID,
            "suid" => self.set -= A::MOUNT_ATTR_NOSUID,
            "nodev" => self.set |= A::MOUNT_ATTR_NODEV,
            "dev" => self.set -= A::MOUNT_ATTR_NODEV,
            "noexec" => self.set |= A::MOUNT_ATTR_NOEXEC,
            "exec" => self.set -= A::MOUNT_ATTR_NOEXEC,
            "nodiratime" => self.set |= A::MOUNT_ATTR_NODIRATIME,
            "diratime" => self.set -= A::MOUNT_ATTR_NODIRATIME,
            "nosymfollow" => self.set |= A::MOUNT_ATTR_NOSYMFOLLOW,
            "relatime" | "atime" | "nostrictatime" => self.set -= atime,
            "noatime" => self.set = (self.set - atime) | A::MOUNT_ATTR_NOATIME,
            "strictatime" => self.set = (self.set - atime) | A::MOUNT_ATTR_STRICTATIME,
            "bind" => self.recursive = false,
            "rbind" => self.recursive = true,
            "private" | "shared" | "slave" | "unbindable" => self.propagate(word, false),
            "rprivate" | "rshared" | "rslave" | "runbindable" => self.propagate(&word[1..], true),
            "defaults" | "async" | "sync" | "dirsync" | "mand" | "nomand" | "silent" | "loud" | "iversion"
            | "noiversion" => {}
            data => self.data.push(data),
        }
    }

    fn propagate(&mut self, kind: &str, recursive: bool) {
        self.propagation = match kind {
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => MountPropagationFlags::PRIVATE,
        };
        self.recursive_propagation = recursive;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> (Attributes, Vec<String>) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let options = Options::read(&words);
        (options.set, options.data.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn later_words_win() {
        let nosuid = Attributes::MOUNT_ATTR_NOSUID;
        assert_eq!(read(&["nosuid", "noexec", "exec", "mode=755"]), (nosuid, vec!["mode=755".to_owned()]));
        assert_eq!(read(&["ro", "rw", "noatime", "strictatime"]).0, Attributes::MOUNT_ATTR_STRICTATIME);
    }

    #[test]
    fn private_unless_asked() {
        let words = ["rbind".to_owned(), "rslave".to_owned()];
        let options = Options::read(&words);
        assert!(options.recursive && options.recursive_propagation);
        assert_eq!(options.propagation, MountPropagationFlags::DOWNSTREAM);
        assert_eq!(Options::read(&[]).propagation, MountPropagationFlags::PRIVATE);
    }
}
