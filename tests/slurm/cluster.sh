#!/usr/bin/env bash
# A Slurm cluster of one node for tests: `cluster.sh start|stop|status DIR`.
#
#     eval "$(tests/slurm/cluster.sh start "$DIR")"       # SLURM_CONF, which every Slurm command reads
#     sbatch --parsable --array=0-3 --wrap 'echo $SLURM_ARRAY_TASK_ID'
#     tests/slurm/cluster.sh stop "$DIR"
#
# It starts munged, slurmctld and slurmd of Debian's packages (`apt-get install slurm-wlm munge`; tried with 22.05.8 of Debian 12), as
# whoever calls it: root in a container without systemd, or a user, who then can run jobs as nobody else. Configuration, key, socket,
# state, spool, logs and process ids are all in DIR, an absolute path of at most 80 characters without blanks, and the ports are free
# ones, so it touches no cluster that the machine belongs to and several may run side by side. Without the packages it exits 77.
#
# What was needed, and is not obvious:
# - munged takes a key and a socket of its own (--key-file, --socket; Slurm's end is AuthInfo=socket=). It wants folders above them
#   that others can enter and nobody else can write; --force makes that a warning, as DIR may come from mktemp.
# - ProctrackType=proctrack/linuxproc: the default wants cgroups, which a container has not. TaskPlugin is left at its default, none.
# - SlurmdParameters=config_overrides: a node may claim CPUs that the machine has not (BANKSIA_SLURM_CPUS; the machine's count, at least 2).
# - sched_min_interval and batch_sched_delay of 0: a job starts at once, rather than within some seconds.
# - MinJobAge=3600: there is no accounting storage, so `sacct` does not work ("Slurm accounting storage is disabled"). How a job ended
#   is in `scontrol show job` and `squeue -t all` for an hour, and in DIR/completions, a line a job or task (JobCompType=jobcomp/filetxt;
#   `sacct -c` of 22.05 loses the tasks of arrays).
# - MaxArraySize=100001: Slurm's own default, 1001, allows the task ids 0 to 1000.
# - KillWait=1: a cancelled task that ignores SIGTERM is killed after a second.
# - A task that is requeued waits two minutes in Slurm, whatever the settings (`scontrol update jobid=ID StartTime=now` ends that).
set -euo pipefail

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

usage() {
    echo "usage: cluster.sh start|stop|status DIR" >&2
    exit 2
}

[ $# -eq 2 ] || usage
action=$1
dir=$2
case $dir in
    *[[:space:]]*) fail "DIR must have no blanks: $dir" ;;
    /*) ;;
    *) fail "DIR must be an absolute path: $dir" ;;
esac
[ ${#dir} -le 80 ] || fail "DIR is longer than 80 characters, too long for a socket: $dir"
PATH=$PATH:/usr/sbin:/sbin
conf=$dir/slurm.conf

# The process of a pid file, if it is still the program that wrote it.
process() {
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 1
    # A daemon that has ended, and whose parent does not look (a container without init), stays as a zombie.
    [ "$(awk '/^State:/ { print $2 }' "/proc/$pid/status" 2>/dev/null)" != Z ] || return 1
    echo "$pid"
}

# Whether a command succeeds within some tenths of a second.
within() {
    local tenths=$1
    shift
    for ((i = 0; i < tenths; i++)); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    return 1
}

needed() {
    for program in munged mungekey slurmctld slurmd sbatch squeue scontrol; do
        command -v "$program" >/dev/null || {
            echo "cluster.sh: $program is not installed: apt-get install slurm-wlm munge" >&2
            exit 77
        }
    done
}

# Two ports that nobody listens on.
free_ports() {
    local found=() port
    while [ ${#found[@]} -lt 2 ]; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then found+=("$port"); fi
    done
    echo "${found[@]}"
}

configure() {
    local node user cpus ports memory
    node=$(hostname -s)
    user=$(id -un)
    cpus=${BANKSIA_SLURM_CPUS:-$(nproc)}
    if [ -z "${BANKSIA_SLURM_CPUS:-}" ] && [ "$cpus" -lt 2 ]; then cpus=2; fi
    memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
    read -r -a ports <<<"$(free_ports)"
    cat >"$conf" <<END
ClusterName=banksia
SlurmctldHost=$node(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
MpiDefault=none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/completions
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
JobRequeue=1
MaxArraySize=100001
MaxJobCount=200000
MinJobAge=3600
KillWait=1
CompleteWait=0
InactiveLimit=0
MessageTimeout=10
SlurmdTimeout=30
SlurmctldTimeout=30
ReturnToService=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
}

node_is_up() { [ "$(SLURM_CONF=$conf sinfo -h -o %T 2>/dev/null)" = idle ]; }

running() { process munged >/dev/null && process slurmctld >/dev/null && process slurmd >/dev/null; }

start() {
    needed
    if ! running; then
        mkdir -p "$dir/state" "$dir/spool"
        chmod 755 "$dir" "$dir/state" "$dir/spool"
        [ -e "$dir/munge.key" ] || mungekey --create --keyfile="$dir/munge.key" || fail "no munge key"
        configure
        # Nothing of ours on the daemons' streams: a caller may wait for the end of a pipe.
        munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
            --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" >"$dir/start.log" 2>&1 </dev/null ||
            give_up "munged did not start"
        SLURM_CONF=$conf slurmctld -f "$conf" >>"$dir/start.log" 2>&1 </dev/null || give_up "slurmctld did not start"
        SLURM_CONF=$conf slurmd -f "$conf" >>"$dir/start.log" 2>&1 </dev/null || give_up "slurmd did not start"
        within 200 node_is_up || give_up "the node did not come up in 20 s"
    fi
    echo "export SLURM_CONF=$conf"
}

give_up() {
    tail -n 5 "$dir"/start.log "$dir"/*d.log >&2 || true
    stop
    fail "$1 (logs in $dir)"
}

no_jobs() { [ -z "$(SLURM_CONF=$conf squeue -h 2>/dev/null)" ]; }

gone() { ! process "$1" >/dev/null; }

stop() {
    # Jobs first, while there is who ends them.
    if process slurmctld >/dev/null && process slurmd >/dev/null; then
        SLURM_CONF=$conf squeue -h -o %A 2>/dev/null | sort -u | SLURM_CONF=$conf xargs -r scancel 2>/dev/null || true
        within 100 no_jobs || true
    fi
    # Tasks that are still there, as where a daemon had died, by their process ids.
    SLURM_CONF=$conf scontrol listpids 2>/dev/null | awk 'NR > 1 && $1 > 0 { print $1 }' | xargs -r kill -9 2>/dev/null || true
    local daemon pid
    for daemon in slurmd slurmctld munged; do
        pid=$(process "$daemon") || continue
        kill "$pid" 2>/dev/null || true
        within 50 gone "$daemon" || kill -9 "$pid" 2>/dev/null || true
        rm -f "$dir/$daemon.pid"
    done
    # Where a daemon had died: children of the others that wait for it, by our configuration in their arguments or environment.
    for pid in $(pgrep '^slurm(d|ctld|stepd)$'); do
        if { cat "/proc/$pid/cmdline" "/proc/$pid/environ" | tr '\0' '\n' | grep -qxF -e "$conf" -e "SLURM_CONF=$conf"; } 2>/dev/null; then
            kill -9 "$pid" 2>/dev/null || true
        fi
    done
}

status() {
    local daemon pid code=0
    for daemon in munged slurmctld slurmd; do
        if pid=$(process "$daemon"); then
            echo "$daemon runs as $pid"
        else
            echo "$daemon does not run"
            code=1
        fi
    done
    [ $code -ne 0 ] || SLURM_CONF=$conf sinfo
    return $code
}

case $action in
    start) start ;;
    stop) stop ;;
    status) status ;;
    *) usage ;;
esac
