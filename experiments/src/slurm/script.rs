//! The script of a task.

use std::path::Path;

use banksia_reports::write_atomically;

use super::options::SlurmOptions;
use super::request::Request;
use crate::error::Error;

/// A text as a shell takes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Writes the script that every task runs, beside the stores.
pub(super) fn write(folder: &Path, request: &Request<'_>, options: &SlurmOptions) -> Result<(), Error> {
    let absolute = |path: &Path| {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        quoted(&path.display().to_string())
    };
    let settings: String = request.settings.iter().map(|s| format!(" --set {}", quoted(s))).collect();
    let shards = options.tasks.min(request.sweep.len()).max(1);
    let text = format!(
        "#!/bin/bash
# A shard of a sweep: its store lies on the node's own disk, and is copied here every {copy} s and at the end.
set -u
{setup}
shard=$((SLURM_ARRAY_TASK_ID + 1))
here={here}
scratch=\"{scratch}/banksia-$SLURM_JOB_ID-$shard\"
mkdir -p \"$scratch\" || exit 1
trap 'rm -rf \"$scratch\"' EXIT
# What an earlier task of this shard had done.
[ -f \"$here/part-$shard.db\" ] && cp \"$here/part-$shard.db\" \"$scratch/part.db\"
{program} sweep {sweep}{settings} --store \"$scratch/part.db\" --shard \"$shard/{shards}\" --jobs {jobs} \\
    --copy-to \"$here/part-$shard.db\" --copy-every {copy} > /dev/null
",
        copy = options.copy_s,
        setup = options.setup.join("\n"),
        here = absolute(folder),
        scratch = options.scratch,
        program = absolute(request.program),
        sweep = absolute(request.sweep.path()),
        jobs = options.cpus_per_task,
    );
    Ok(write_atomically(&folder.join("task.sh"), text.as_bytes())?)
}
