//! The processes of a container, as `ps` on the host shows them.

use std::process::Command;

use crate::engine::{Engine, Error, Result};
use crate::sys::process;

/// A table of processes.
#[derive(Debug, Clone)]
pub struct Top {
    /// Column heads.
    pub titles: Vec<String>,
    /// A row a process.
    pub processes: Vec<Vec<String>>,
}

impl Engine {
    /// Runs `ps` with these arguments (none: `-ef`) and keeps the rows of the container's processes.
    ///
    /// # Errors
    /// Not found; conflict if it does not run; arguments that `ps` refuses or that hide the PID column.
    pub fn top(&self, name: &str, arguments: &str) -> Result<Top> {
        let view = self.container(name)?;
        if !view.state.is_running() {
            return Err(Error::Conflict(format!("container {} is not running", view.record.id)));
        }
        let pids = process::in_pid_namespace_of(view.state.pid).map_err(Error::system("cannot list processes"))?;
        let arguments = if arguments.trim().is_empty() { "-ef" } else { arguments };
        let output = Command::new("ps").args(arguments.split_whitespace()).env("LC_ALL", "C").output();
        let output = output.map_err(Error::system("cannot run ps"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Error::InvalidParameter(format!("ps: {}", text.trim())));
        }
        let top = table(&String::from_utf8_lossy(&output.stdout), &pids)?;
        self.emit(&view.record, "top", &[]);
        Ok(top)
    }
}

fn table(text: &str, pids: &[i32]) -> Result<Top> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let Some(column) = titles.iter().position(|title| title == "PID") else {
        return Err(Error::InvalidParameter("Couldn't find PID field in ps output".to_owned()));
    };
    let row = |line: &str| -> Option<Vec<String>> {
        // The last column is the command and may hold spaces.
        let mut rest = line.trim_start();
        let mut cells = Vec::with_capacity(titles.len());
        while cells.len() + 1 < titles.len() {
            let end = rest.find(char::is_whitespace)?;
            cells.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
        cells.push(rest.trim_end().to_owned());
        let pid: i32 = cells[column].parse().ok()?;
        pids.contains(&pid).then_some(cells)
    };
    Ok(Top { processes: lines.filter_map(row).collect(), titles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_containers_rows_and_whole_commands() {
        let text = "UID PID CMD\nroot 1 init\nme  42  sleep 1000 s\n";
        let top = table(text, &[42]).expect("a table");
        assert_eq!(top.processes, [["me", "42", "sleep 1000 s"]]);
        assert!(table("UID CMD\n", &[1]).is_err());
    }
}
