# Makes a machine of namespaces whose first process is systemd. Arguments: an empty directory, a name for its cgroups, the tree of
# the package systemd, and directories to be seen in it.
set -eu
for hierarchy in /sys/fs/cgroup/*/; do
  own=$hierarchy$2
  mkdir -p "$own"
  for file in cpuset.cpus cpuset.mems; do
    [ ! -e "$hierarchy$file" ] || cat "$hierarchy$file" > "$own/$file"
  done
  echo $$ > "$own/cgroup.procs"
done
exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup --propagation private sh -eu -c '
root=$1 tree=$3; shift 3
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir usr etc var tmp run proc sys dev old root
for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done
# systemd over the programs of this machine; nothing of them can be written to.
mount --bind /usr usr
mount -o remount,bind,ro usr
for dir in bin sbin lib; do
  layers=
  for layer in "$tree/$dir" "$tree/usr/$dir"; do [ ! -d "$layer" ] || layers=$layers$layer:; done
  [ -z "$layers" ] || mount -t overlay -o "ro,lowerdir=$layers/usr/$dir" usr usr/$dir
done
for file in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d ssl; do
  [ ! -e /etc/$file ] || cp -a /etc/$file etc/
done
mkdir -p etc/systemd/system var/lib var/log
: > etc/machine-id
: > etc/resolv.conf
echo "127.0.0.1 localhost machine" > etc/hosts
hostname machine
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 run run
for dir in "$@"; do mkdir -p ".$dir"; mount --bind "$dir" ".$dir"; done
mount -t proc proc proc
# Of the settings of the kernel, those of its network are its own.
mkdir run/net
mount --bind proc/sys/net run/net
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --move run/net proc/sys/net
rmdir run/net
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
for hierarchy in /sys/fs/cgroup/*/; do
  name=$(basename "$hierarchy")
  case $name in
    unified) continue ;;
    systemd) options=none,name=systemd ;;
    *) options=$name ;;
  esac
  mkdir "sys/fs/cgroup/$name"
  mount -t cgroup -o $options cgroup "sys/fs/cgroup/$name"
done
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty fuse kmsg; do
  [ ! -e /dev/$name ] || { : > dev/$name; mount --bind /dev/$name dev/$name; }
done
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0 1 2; do ln -s /proc/self/fd/$number dev/std$(echo in out err | cut -d " " -f $((number + 1))); done
mkdir -p run/systemd/system
printf "[Unit]\nDescription=a test\nDefaultDependencies=no\n" > run/systemd/system/test.target
pivot_root . old
cd /
umount --lazy old
ip link set lo up
ip address add 10.99.0.1/32 dev lo
exec env -i container=other PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
' machine "$@"
