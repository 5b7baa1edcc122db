#!/bin/bash
# A real Slurm cluster on one machine.  Run as root.  See README.md beside this file.
#
#   cluster.sh install              Debian packages (no daemon is started by apt)
#   cluster.sh start | stop | status
#   eval "$(cluster.sh env)"        SLURM_CONF for the client commands
#   cluster.sh kill-slurmd n2       kill -9 the node's slurmd only (its steps live on)
#   cluster.sh power-off n2         kill -9 everything on the node at once (ns, netns)
#   cluster.sh start-node n2        bring that node's slurmd (or the node) back
#   cluster.sh cut n2 | uncut n2    node unreachable / reachable again (netns)
#   cluster.sh in n2 CMD...         run CMD inside the node
#
# Settings, from the environment at `start` (then remembered in $ROOT/settings):
ROOT=${SLURM_ROOT:-${TMPDIR:-/tmp}/slurm-cluster}  # everything the cluster writes
if [ "$1" != start ] && [ -r "$ROOT/settings" ]; then . "$ROOT/settings"; fi
NODES=${NODES:-4}         # nodes n1..nN
CPUS=${CPUS:-4}           # CPUs each node claims (may exceed the real ones)
MEM=${MEM:-8000}          # MiB each node claims
GPUS=${GPUS:-2}           # fake GPUs per node, 0: none
GPU_TYPE=${GPU_TYPE:-}    # for instance h100: --gres=gpu:h100:1 works too
KIND=${KIND:-netns}       # plain: N slurmd on this host | ns: + own hostname, pids, mounts | netns: + own network
ACCT=${ACCT:-dbd}         # dbd: mariadbd + slurmdbd (sacct works) | none
CGROUP=${CGROUP:-0}       # 1: proctrack/cgroup + task/cgroup (cgroup v1: memory limits are enforced)
EXTRA=${EXTRA:-}          # more slurm.conf lines
NET=${NET:-10.77.0}       # netns: the /24
PORT=${PORT:-16800}       # +17 slurmctld, +19 slurmdbd, +100+i slurmd of ni
export SLURM_CONF=$ROOT/etc/slurm.conf

say() { echo "[cluster] $*"; }
die() { echo "[cluster] ERROR: $*" >&2; exit 1; }
host=$(hostname -s)
case $KIND in netns) CTL=$NET.254 ;; *) CTL=127.0.0.1 ;; esac
addr() { case $KIND in netns) echo "$NET.$1" ;; *) echo 127.0.0.1 ;; esac; }
idx() { echo "${1#n}"; }
alive() {  # a pid that runs (a zombie does not)
  [ -n "$1" ] && [ -r "/proc/$1/stat" ] && [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" != Z ]
}
wait_gone() { local p; for p in "$@"; do for _ in $(seq 100); do alive "$p" || break; sleep 0.1; done; alive "$p" && kill -9 "$p"; done; true; }
pidof_file() { cat "$1" 2>/dev/null; }

install() {
  export DEBIAN_FRONTEND=noninteractive
  local pk="munge slurmctld slurmd slurm-client iproute2"
  [ "$ACCT" = dbd ] && pk="$pk slurmdbd slurm-wlm-mysql-plugin mariadb-server-core mariadb-client-core"
  # a policy-rc.d that denies keeps apt from starting the daemons with Debian's own settings
  local made=; [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=1; }
  mkdir -p "$(dirname "$ROOT")"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $pk >"$ROOT.apt.log" 2>&1
  local rc=$?; [ -n "$made" ] && rm -f /usr/sbin/policy-rc.d
  [ $rc = 0 ] || { tail -20 "$ROOT.apt.log"; die "apt-get"; }
}

write_conf() {
  mkdir -p "$ROOT"/{etc,state,log,run,munge,dev} "$ROOT"/spool
  chmod 755 "$ROOT" "$ROOT/munge"
  local i
  { echo "127.0.0.1 localhost"; echo "$CTL $host ctl"; for i in $(seq "$NODES"); do echo "$(addr $i) n$i"; done
    # torch looks its peers up by their IPv4-mapped addresses
    [ "$KIND" = netns ] && for i in $(seq "$NODES"); do echo "::ffff:$(addr $i) n$i"; done; } >"$ROOT/etc/hosts"
  # the nodes ask no name server
  printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$ROOT/etc/resolv.conf"
  # netns: a client's srun (host name -> 127.0.0.1) must listen where the nodes reach it; each slurmd has its own network
  local comm=NoInAddrAny,NoCtldInAddrAny; [ "$KIND" = netns ] && comm=NoCtldInAddrAny
  local proctrack=proctrack/linuxproc task=task/none jag=jobacct_gather/linux
  if [ "$CGROUP" = 1 ]; then
    proctrack=proctrack/cgroup task=task/cgroup jag=jobacct_gather/cgroup
    printf '%s\n' CgroupMountpoint=/sys/fs/cgroup CgroupPlugin=cgroup/v1 ConstrainRAMSpace=yes ConstrainSwapSpace=no ConstrainDevices=no ConstrainCores=no >"$ROOT/etc/cgroup.conf"
  fi
  {
    cat <<EOT
ClusterName=fake
SlurmctldHost=$host($CTL)
SlurmctldPort=$((PORT + 17))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire: also how long a requeued job waits before it may start again (default 120 s)
AuthInfo=socket=$ROOT/munge/munge.socket,cred_expire=${CRED_EXPIRE:-5}
# job ids never start again from 1: submitit would take an old job's result from its folder for the new job's
FirstJobId=$(( ($(date +%s) - 1700000000) / 4 % 60000000 + 1 ))
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=$ROOT/spool/%n
SlurmctldPidFile=$ROOT/run/slurmctld.pid
SlurmdPidFile=$ROOT/run/slurmd-%n.pid
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd-%n.log
# bind to what the own host name resolves to (loopback, or the private bridge), not to 0.0.0.0
CommunicationParameters=$comm
ProctrackType=$proctrack
TaskPlugin=$task
JobAcctGatherType=$jag
JobAcctGatherFrequency=5
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
# take the CPUs and memory below on trust
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=2,batch_sched_delay=0
PriorityType=priority/basic
JobRequeue=1
KillWait=5
KillOnBadExit=0
MinJobAge=3600
# a silent node is DOWN (its jobs requeued, NODE_FAIL) after 10-17 s with 5 and MessageTimeout=3; 25-30 s with 10 and 10
SlurmdTimeout=${SLURMD_TIMEOUT:-5}
SlurmctldTimeout=30
InactiveLimit=0
MessageTimeout=${MSG_TIMEOUT:-3}
TCPTimeout=1
BatchStartTimeout=10
UnkillableStepTimeout=60
# preemption: partition hi takes nodes from lo; USR2 (sbatch --signal) goes out at once
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobCompType=jobcomp/filetxt
JobCompLoc=$ROOT/log/jobcomp.txt
EOT
    if [ "$ACCT" = dbd ]; then
      echo "AccountingStorageType=accounting_storage/slurmdbd"
      echo "AccountingStorageHost=127.0.0.1"
      echo "AccountingStoragePort=$((PORT + 19))"
      # for munge this "password" is the socket: without it, talking to slurmdbd ignores AuthInfo
      echo "AccountingStoragePass=$ROOT/munge/munge.socket"
      echo "AccountingStoreFlags=job_comment"
      echo "AccountingStorageTRES=gres/gpu"
    else
      echo "AccountingStorageType=accounting_storage/none"
    fi
    local gres=; [ "$GPUS" -gt 0 ] && { echo "GresTypes=gpu"; gres="Gres=gpu:${GPU_TYPE:+$GPU_TYPE:}$GPUS"; }
    for i in $(seq "$NODES"); do
      local nh=n$i; [ "$KIND" = plain ] && nh=$host
      echo "NodeName=n$i NodeHostname=$nh NodeAddr=$(addr $i) Port=$((PORT + 100 + i)) CPUs=$CPUS RealMemory=$MEM $gres State=UNKNOWN"
    done
    echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=5 PreemptMode=OFF"
    echo "PartitionName=lo   Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=${GRACE:-30}"
    echo "PartitionName=hi   Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF"
    [ -n "$EXTRA" ] && printf '%b\n' "$EXTRA"
  } >"$SLURM_CONF"
  if [ "$GPUS" -gt 0 ]; then
    for i in $(seq 0 $((GPUS - 1))); do [ -e "$ROOT/dev/gpu$i" ] || mknod "$ROOT/dev/gpu$i" c 1 3; done
    echo "NodeName=n[1-$NODES] Name=gpu ${GPU_TYPE:+Type=$GPU_TYPE }File=$ROOT/dev/gpu$([ "$GPUS" -gt 1 ] && echo "[0-$((GPUS - 1))]" || echo 0) Flags=nvidia_gpu_env" >"$ROOT/etc/gres.conf"
  fi
  for v in NODES CPUS MEM GPUS GPU_TYPE KIND ACCT CGROUP NET PORT; do echo "$v=${!v}"; done >"$ROOT/settings"
}

start_munge() {
  [ -e "$ROOT/munge/munge.key" ] || { ( umask 077; head -c 128 /dev/urandom >"$ROOT/munge/munge.key" ); }
  munged --force --key-file="$ROOT/munge/munge.key" --socket="$ROOT/munge/munge.socket" --pid-file="$ROOT/run/munged.pid" \
    --log-file="$ROOT/log/munged.log" --seed-file="$ROOT/munge/munge.seed" 2>"$ROOT/log/munged.err" || die "munged: $(cat "$ROOT/log/munged.err")"
}

start_db() {
  local sock=$ROOT/run/mysql.sock
  if [ ! -d "$ROOT/mysql/mysql" ]; then
    mkdir -p "$ROOT/mysql"
    mariadb-install-db --no-defaults --user=root --datadir="$ROOT/mysql" --skip-test-db --auth-root-authentication-method=normal \
      --innodb-log-file-size=16M >"$ROOT/log/mysql-install.log" 2>&1 || die "mariadb-install-db: $ROOT/log/mysql-install.log"
  fi
  setsid mariadbd --no-defaults --user=root --datadir="$ROOT/mysql" --socket="$sock" --skip-networking --pid-file="$ROOT/run/mysql.pid" \
    --innodb-buffer-pool-size=64M --innodb-log-file-size=16M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 \
    --max-allowed-packet=16M >"$ROOT/log/mysql.log" 2>&1 </dev/null &
  for _ in $(seq 150); do mariadb --no-defaults -S "$sock" -uroot -e "SELECT 1" >/dev/null 2>&1 && break; sleep 0.1; done
  mariadb --no-defaults -S "$sock" -uroot -e 'CREATE DATABASE IF NOT EXISTS slurm_acct_db' || die "mariadbd: $ROOT/log/mysql.log"
  cat >"$ROOT/etc/slurmdbd.conf" <<EOT
AuthType=auth/munge
AuthInfo=socket=$ROOT/munge/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 19))
CommunicationParameters=NoInAddrAny
SlurmUser=root
LogFile=$ROOT/log/slurmdbd.log
PidFile=$ROOT/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
EOT
  chmod 600 "$ROOT/etc/slurmdbd.conf"
  MYSQL_UNIX_PORT=$sock SLURM_CONF=$ROOT/etc/slurm.conf slurmdbd || die slurmdbd
  for _ in $(seq 100); do timeout 5 sacctmgr -n list cluster >/dev/null 2>&1 && break; sleep 0.1; done
  timeout 20 sacctmgr -n -i add cluster fake >"$ROOT/log/sacctmgr.log" 2>&1; true
}

net_up() {
  ip link show slurmbr0 >/dev/null 2>&1 || ip link add slurmbr0 type bridge
  ip addr replace "$NET.254/24" dev slurmbr0; ip link set slurmbr0 up
}
net_node() { # i
  local i=$1; [ -e "/run/netns/slurm-n$i" ] && return
  ip netns add "slurm-n$i"
  ip link add "slv$i" type veth peer name eth0 netns "slurm-n$i"
  ip link set "slv$i" master slurmbr0 up
  ip -n "slurm-n$i" addr add "$NET.$i/24" dev eth0
  ip -n "slurm-n$i" link set eth0 up; ip -n "slurm-n$i" link set lo up
}

init_pid() { pidof_file "$ROOT/run/n$1.init"; }
nodens() { # i cmd...: run in the node's namespaces
  local i=$1 p; shift; p=$(init_pid "$i"); alive "$p" || die "node n$i is not up"
  nsenter -t "$p" -m -u -p -n -- "$@"
}

start_node() { # i
  local i=$1
  mkdir -p "$ROOT/spool/n$i"
  if [ "$KIND" = plain ]; then
    slurmd -N "n$i" || die "slurmd n$i"
    return
  fi
  local p; p=$(init_pid "$i")
  if ! alive "$p"; then
    rm -f "$ROOT/run/n$i.init" "$ROOT/run/slurmd-n$i.pid"
    local pre=(); [ "$KIND" = netns ] && { net_node "$i"; pre=(nsenter "--net=/run/netns/slurm-n$i" --); }
    # the node's pid 1 is a shell that reaps orphans; when it dies the kernel kills the whole node
    setsid "${pre[@]}" unshare -u -m -p --fork --mount-proc bash -c '
      hostname "$1"; mount --bind "$2/etc/hosts" /etc/hosts; mount --bind "$2/etc/resolv.conf" "$(readlink -f /etc/resolv.conf)"
      trap "exit 0" TERM
      while :; do sleep 3600 & wait $!; done' node-init "n$i" "$ROOT" >"$ROOT/log/init-n$i.log" 2>&1 </dev/null &
    local up=$!
    for _ in $(seq 50); do p=$(cat "/proc/$up/task/$up/children" 2>/dev/null | tr -d ' '); [ -n "$p" ] && break; sleep 0.02; done
    [ -n "$p" ] || die "node n$i did not start: $ROOT/log/init-n$i.log"
    echo "$p" >"$ROOT/run/n$i.init"
    for _ in $(seq 50); do [ "$(nsenter -t "$p" -u -m hostname 2>/dev/null)" = "n$i" ] && grep -q "n$i" "/proc/$p/root/etc/hosts" && break; sleep 0.02; done
  fi
  [ "$KIND" = netns ] && ip link set "slv$i" up
  nodens "$i" slurmd -N "n$i" || die "slurmd n$i"
}

stop_node() { # i
  local i=$1 p
  if [ "$KIND" = plain ]; then
    p=$(pidof_file "$ROOT/run/slurmd-n$i.pid"); alive "$p" && { kill "$p"; wait_gone "$p"; }
  else
    p=$(init_pid "$i"); alive "$p" && { kill -9 "$p"; wait_gone "$p"; }
    [ "$KIND" = netns ] && { ip netns del "slurm-n$i" 2>/dev/null; ip link del "slv$i" 2>/dev/null; }
  fi
  rm -f "$ROOT/run/n$i.init" "$ROOT/run/slurmd-n$i.pid"
}

start() {
  [ "$(id -u)" = 0 ] || die "needs root"
  local m; for m in munged slurmctld slurmd scontrol; do command -v $m >/dev/null || die "no $m: run $0 install"; done
  alive "$(pidof_file "$ROOT/run/slurmctld.pid")" && die "already running (cluster.sh stop)"
  write_conf
  [ "$KIND" = netns ] && net_up
  start_munge
  [ "$ACCT" = dbd ] && start_db
  # -i: ignore state that cannot be read (first start).  Its own /etc/hosts: it listens where its host name resolves to
  unshare -m bash -c 'mount --bind "$1/etc/hosts" /etc/hosts && exec slurmctld -i' slurmctld "$ROOT" || die "slurmctld: $ROOT/log/slurmctld.log"
  local i; for i in $(seq "$NODES"); do start_node $i; done
  for _ in $(seq 150); do [ "$(sinfo -h -N -p main -t idle -o %N 2>/dev/null | wc -l)" = "$NODES" ] && break; sleep 0.1; done
  sinfo -N -p main -o "%N %T %c %m %G" || die "slurmctld does not answer: $ROOT/log/slurmctld.log"
}

stop() {
  local i p
  if alive "$(pidof_file "$ROOT/run/slurmctld.pid")"; then
    timeout 5 scancel --state=PENDING --partition=main,lo,hi 2>/dev/null
    timeout 5 squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 10 scancel --signal=KILL --full 2>/dev/null
    timeout 5 squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 10 scancel 2>/dev/null
    for _ in $(seq 30); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.2; done
  fi
  for i in $(seq "$NODES"); do stop_node $i; done
  for p in slurmctld slurmdbd; do
    i=$(pidof_file "$ROOT/run/$p.pid"); alive "$i" && { kill "$i"; wait_gone "$i"; }
  done
  p=$(pidof_file "$ROOT/run/mysql.pid"); alive "$p" && { kill "$p"; wait_gone "$p"; }
  p=$(pidof_file "$ROOT/run/munged.pid"); alive "$p" && { kill "$p"; wait_gone "$p"; }
  [ "$KIND" = netns ] && ip link del slurmbr0 2>/dev/null
  [ "$CGROUP" = 1 ] && for i in $(seq "$NODES"); do find /sys/fs/cgroup/*/slurm_n$i -depth -type d -exec rmdir {} \; 2>/dev/null; done
  rm -f "$ROOT"/run/*; true
}

case $1 in
  install) install ;;
  start) start ;;
  stop) stop ;;
  wipe) stop; case $ROOT in /tmp/*) rm -rf "$ROOT" ;; esac ;;
  status) sinfo -N -l; squeue ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  kill-slurmd) i=$(idx "$2"); if [ "$KIND" = plain ]; then kill -9 "$(cat "$ROOT/run/slurmd-n$i.pid")"; else nodens "$i" kill -9 "$(cat "$ROOT/run/slurmd-n$i.pid")"; fi ;;
  power-off) i=$(idx "$2"); [ "$KIND" != plain ] || die "power-off: KIND=ns or netns"; 
    # link first: a machine that loses power sends no FIN, so srun on the other nodes must not see one
    [ "$KIND" = netns ] && ip link set "slv$i" down; p=$(init_pid "$i"); kill -9 "$p"; wait_gone "$p" ;;
  start-node) start_node "$(idx "$2")" ;;
  cut) ip link set "slv$(idx "$2")" down ;;
  uncut) ip link set "slv$(idx "$2")" up ;;
  in) i=$(idx "$2"); shift 2; nodens "$i" "$@" ;;
  *) sed -n '2,13p' "$0"; exit 2 ;;
esac
