#include "cadvisor/fake_tree.h"

namespace skiff::cadvisor {

void AddMachine(FakeTree& tree) {
  tree.Add({
      {"proc/meminfo",
       "MemTotal:        4194304 kB\nMemFree:         1048576 kB\nSwapTotal:       1024 kB\n"
       "SwapFree:        1000 kB\nHugePages_Total:       0\n"},
      {"proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nbtime 1700000000\n"},
      {"proc/loadavg", "0.01 0.02 0.03 2/336 12345\n"},
      {"proc/sys/kernel/pid_max", "32768\n"},
      {"proc/sys/kernel/threads-max", "190000\n"},
      {"proc/sys/kernel/random/boot_id", "74248bbf-1587-4581-bb84-e6466c7a1368\n"},
      {"proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"},
      {"proc/cpuinfo",
       "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu MHz\t\t: 2445.424\nphysical id\t: 0\n"
       "core id\t\t: 0\n\nprocessor\t: 1\nvendor_id\t: AuthenticAMD\ncpu MHz\t\t: 2400.0\n"
       "physical id\t: 0\ncore id\t\t: 1\n\n"},
      {"proc/1/net/dev",
       "Inter-|   Receive                                                |  Transmit\n"
       " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
       "carrier compressed\n"
       "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0"
       "          0\n"
       "  eth0:4938825    14698   1    2    0     0          0         0   790242   10501    3    4    0     0       0"
       "          0\n"
       "veth12:     5       5    0    0    0     0          0         0      5       5    0    0    0     0       0"
       "          0\n"},
      {"proc/1/limits",
       "Limit                     Soft Limit           Hard Limit           Units\n"
       "Max open files            1024                 524288               files\n"},
      {"proc/self/mountinfo",
       "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
       "27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
       "28 27 0:25 / /mem\\040disk ro - tmpfs tmpfs ro,size=4k\n"
       "29 27 254:0 /var /bind rw - ext4 /dev/vda rw\n"
       "30 27 0:30 / /ovl rw - overlay overlay rw\n"
       "31 27 0:31 / /gone rw - xfs /dev/gone rw\n"
       "32 27 0:32 / /lib/pods/u/volumes/kubernetes.io~projected/t rw - tmpfs tmpfs rw\n"
       "33 27 0:33 / /run/io.containerd.runtime.v2.task/k8s.io/c/rootfs rw - overlay overlay rw\n"},
      {"proc/diskstats",
       "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
       " 254       0 vda 10 20 30 40 50 60 70 80 9 100 110 1 2 3 4 5 6\n"},
      {"mem disk/file", ""},
      {"bind/file", ""},
      {"ovl/file", ""},
      {"lib/pods/u/volumes/kubernetes.io~projected/t/token", ""},
      {"run/io.containerd.runtime.v2.task/k8s.io/c/rootfs/file", ""},
      {"etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n"},
      {"usr/lib/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"},
      {"sys/devices/system/cpu/online", "0-1\n"},
      {"sys/devices/system/cpu/cpu0/topology/core_id", "0\n"},
      {"sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"},
      {"sys/devices/system/cpu/cpu1/topology/core_id", "1\n"},
      {"sys/devices/system/cpu/cpu1/topology/physical_package_id", "0\n"},
      {"sys/devices/system/node/online", "0\n"},
      {"sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:        4194304 kB\nNode 0 MemFree: 1 kB\n"},
      {"sys/devices/system/node/node0/cpulist", "0-1\n"},
      {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "7\n"},
      {"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n"},
      {"sys/devices/virtual/block/vda/dev", "254:0\n"},
      {"sys/devices/virtual/block/vda/size", "536870912\n"},
      {"sys/devices/virtual/block/vda/queue/scheduler", "mq-deadline [none]\n"},
      {"sys/devices/virtual/block/vda/uevent", "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n"},
      {"sys/devices/virtual/net/eth0/address", "02:fc:00:00:00:01\n"},
      {"sys/devices/virtual/net/eth0/mtu", "1400\n"},
  });
  tree.Link("../devices/virtual/block/vda", "sys/block/vda");
  tree.Link("../../devices/virtual/block/vda", "sys/dev/block/254:0");
  tree.Link("../../devices/virtual/net/eth0", "sys/class/net/eth0");
}

void AddCgroupsV1(FakeTree& tree) {
  for (const std::string cgroup : {"", "/pods", "/pods/a"}) {
    const std::string cpu = "sys/fs/cgroup/cpu,cpuacct" + cgroup, memory = "sys/fs/cgroup/memory" + cgroup,
                      pids = "sys/fs/cgroup/pids" + cgroup, blkio = "sys/fs/cgroup/blkio" + cgroup,
                      hugetlb = "sys/fs/cgroup/hugetlb" + cgroup;
    tree.Add({
        {cpu + "/cgroup.procs", cgroup == "/pods/a" ? "41\n42\n" : ""},
        {cpu + "/cgroup.clone_children", "0\n"},
        {cpu + "/cpuacct.usage", "3000000000\n"},
        {cpu + "/cpuacct.stat", "user 200\nsystem 100\n"},
        {cpu + "/cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 500000000\n"},
        {cpu + "/cpu.shares", "512\n"},
        {cpu + "/cpu.cfs_period_us", "100000\n"},
        {cpu + "/cpu.cfs_quota_us", cgroup == "/pods/a" ? "50000\n" : "-1\n"},
        {memory + "/cgroup.procs", ""},
        {memory + "/memory.usage_in_bytes", "1000000\n"},
        {memory + "/memory.max_usage_in_bytes", "2000000\n"},
        {memory + "/memory.failcnt", "3\n"},
        {memory + "/memory.kmem.usage_in_bytes", "4096\n"},
        {memory + "/memory.use_hierarchy", "1\n"},
        {memory + "/memory.limit_in_bytes", cgroup == "/pods/a" ? "4000000\n" : "9223372036854771712\n"},
        {memory + "/memory.soft_limit_in_bytes", "9223372036854771712\n"},
        {memory + "/memory.memsw.limit_in_bytes", "9223372036854771712\n"},
        {memory + "/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
        {memory + "/memory.stat",
         "cache 1\nrss 2\nswap 3\nmapped_file 4\npgfault 50\npgmajfault 6\nhierarchical_memory_limit "
         "9223372036854771712\ntotal_cache 300000\ntotal_rss 600000\ntotal_swap 0\ntotal_mapped_file 100000\n"
         "total_inactive_file 200000\ntotal_active_file 100000\n"},
        {pids + "/cgroup.procs", ""},
        {pids + "/pids.current", "5\n"},
        {pids + "/pids.max", cgroup == "/pods/a" ? "100\n" : "max\n"},
        {blkio + "/cgroup.procs", ""},
        {blkio + "/blkio.bfq.io_serviced_recursive", "Total 0\n"},
        {blkio + "/blkio.throttle.io_serviced_recursive",
         "254:0 Read 7\n254:0 Write 8\n254:0 Sync 15\n254:0 Async 0\n254:0 Discard 0\n254:0 Total 15\nTotal 15\n"},
        {blkio + "/blkio.throttle.io_service_bytes_recursive",
         "254:0 Read 4096\n254:0 Write 8192\n254:0 Total 12288\nTotal 12288\n"},
        {hugetlb + "/cgroup.procs", ""},
        {hugetlb + "/hugetlb.2MB.usage_in_bytes", "1\n"},
        {hugetlb + "/hugetlb.2MB.rsvd.usage_in_bytes", "2097152\n"},
        {hugetlb + "/hugetlb.2MB.rsvd.max_usage_in_bytes", "4194304\n"},
        {hugetlb + "/hugetlb.2MB.rsvd.failcnt", "1\n"},
    });
  }
  tree.Link("cpu,cpuacct", "sys/fs/cgroup/cpu");
  tree.Link("cpu,cpuacct", "sys/fs/cgroup/cpuacct");
}

void AddCgroupsV2(FakeTree& tree) {
  const std::string root = "sys/fs/cgroup";
  const std::string pressure =
      "some avg10=18.87 avg60=6.72 avg300=9.34 total=176649431\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
  for (const std::string cgroup : {"", "/pods", "/pods/a"}) {
    const std::string dir = root + cgroup;
    tree.Add({
        {dir + "/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"},
        {dir + "/cgroup.procs", cgroup == "/pods/a" ? "0\n41\n42\n" : ""},
        {dir + "/cpu.stat",
         "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nnice_usec 0\nnr_periods 10\n"
         "nr_throttled 4\nthrottled_usec 500000\nnr_bursts 1\nburst_usec 20\n"},
        {dir + "/cpu.pressure", pressure},
        {dir + "/memory.pressure", pressure},
        {dir + "/io.pressure", pressure},
        {dir + "/memory.stat",
         "anon 600000\nfile 300000\nkernel 4096\nfile_mapped 100000\ninactive_anon 1\n"
         "inactive_file 200000\nactive_file 100000\npgfault 50\npgmajfault 6\n"},
        {dir + "/io.stat",
         "8:0 \n254:0 rbytes=4096 wbytes=8192 rios=7 wios=8 dbytes=0 dios=0 cost.vrate=100.00 "
         "cost.usage=5 cost.wait=6 cost.indebt=7 cost.indelay=8\n"},
    });
    if (cgroup.empty()) continue;
    tree.Add({
        {dir + "/cgroup.events", "populated 1\nfrozen 0\n"},
        {dir + "/cpu.weight", "20\n"},
        {dir + "/cpu.max", cgroup == "/pods/a" ? "50000 100000\n" : "max 100000\n"},
        {dir + "/memory.current", "1000000\n"},
        {dir + "/memory.peak", "2000000\n"},
        {dir + "/memory.max", cgroup == "/pods/a" ? "4000000\n" : "max\n"},
        {dir + "/memory.min", "0\n"},
        {dir + "/memory.swap.max", "0\n"},
        {dir + "/memory.swap.current", "12288\n"},
        {dir + "/memory.events", "low 0\nhigh 0\nmax 3\noom 5\noom_kill 9\n"},
        {dir + "/memory.events.local", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n"},
        {dir + "/pids.current", "5\n"},
        {dir + "/pids.max", cgroup == "/pods/a" ? "100\n" : "max\n"},
        {dir + "/hugetlb.2MB.current", "1\n"},
        {dir + "/hugetlb.2MB.rsvd.current", "2097152\n"},
        {dir + "/hugetlb.2MB.events", "max 1\n"},
    });
  }
}

}  // namespace skiff::cadvisor
