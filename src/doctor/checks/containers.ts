import { parseSubordinateIds, readCgroups } from '../../host/index.ts'
import type { CheckTable, Finding, Subject } from '../subject.ts'

export const containers: CheckTable = {
  id: 'containers',
  title: 'Namespaces and control groups',
  checks: {
    namespaces: checkNamespaces,
    'unprivileged-user-namespaces': checkUserNamespaces,
    'subordinate-ids': checkSubordinateIds,
    cgroups: checkLayout,
    'cgroup-controllers': checkControllers,
  },
}

const namespaces: Readonly<
  Record<string, { readonly title: string; readonly option: string; readonly use: string }>
> = {
  mnt: { title: 'Mount namespaces', option: 'CONFIG_NAMESPACES', use: 'a filesystem of its own' },
  pid: { title: 'Process namespaces', option: 'CONFIG_PID_NS', use: 'processes of its own' },
  net: { title: 'Network namespaces', option: 'CONFIG_NET_NS', use: 'links and addresses of its own' },
  ipc: { title: 'IPC namespaces', option: 'CONFIG_IPC_NS', use: 'shared memory and queues of its own' },
  uts: { title: 'Hostname namespaces', option: 'CONFIG_UTS_NS', use: 'a hostname of its own' },
  user: { title: 'User namespaces', option: 'CONFIG_USER_NS', use: 'a root that is nobody on the host' },
  cgroup: { title: 'Cgroup namespaces', option: 'CONFIG_CGROUPS', use: 'a cgroup tree of its own' },
  time: { title: 'Time namespaces', option: 'CONFIG_TIME_NS', use: 'a boot clock of its own' },
}

function checkNamespaces({ files }: Subject): Finding[] {
  return Object.entries(namespaces).map(([name, { title, option, use }]) => {
    const id = `namespace-${name}`
    if (files.exists(`/proc/self/ns/${name}`))
      return { id, title, status: 'pass', detail: `There; gives a container ${use}.` }
    return {
      id,
      title,
      status: name === 'time' ? 'info' : 'warn',
      detail: `Not in this kernel; without it a container cannot have ${use}.`,
      remedy: `Boot a kernel with ${option}.`,
    }
  })
}

function checkUserNamespaces({ files }: Subject): Finding | undefined {
  if (!files.exists('/proc/self/ns/user')) return undefined
  const title = 'Unprivileged user namespaces'
  const setting = (path: string) => files.read(`/proc/sys/${path}`)?.trim()
  const refusal =
    setting('user/max_user_namespaces') === '0'
      ? 'user.max_user_namespaces=15000'
      : setting('kernel/unprivileged_userns_clone') === '0'
        ? 'kernel.unprivileged_userns_clone=1'
        : setting('kernel/apparmor_restrict_unprivileged_userns') === '1'
          ? 'kernel.apparmor_restrict_unprivileged_userns=0'
          : undefined
  if (!refusal)
    return {
      title,
      status: 'pass',
      detail: 'Allowed: users other than root can run containers of their own.',
    }
  return {
    title,
    status: 'info',
    detail: 'Switched off: only root can run containers.',
    remedy: `To allow them, run as root: sysctl ${refusal} (and keep the line in /etc/sysctl.d/).`,
  }
}

function checkSubordinateIds({ files, user }: Subject): Finding {
  const title = 'Subordinate user and group ids'
  const [uids, gids] = ['/etc/subuid', '/etc/subgid'].map((path) =>
    parseSubordinateIds(files.read(path) ?? '', user),
  )
  const enough = (count: number | undefined) => (count ?? 0) >= 65536
  if (enough(uids) && enough(gids))
    return {
      title,
      status: 'pass',
      detail: `${user.name} has ${uids} user and ${gids} group ids for containers.`,
    }
  return {
    title,
    status: 'info',
    detail: `${user.name} has ${uids ?? 0} user and ${gids ?? 0} group ids; a container whose root is nobody on the host needs 65536 of each.`,
    remedy: `Run as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user.name}`,
  }
}

function checkLayout({ files }: Subject): Finding {
  const title = 'Control groups'
  const { layout, unified } = readCgroups(files)
  switch (layout) {
    case 'v2':
      return {
        title,
        status: 'pass',
        detail: `Version 2 at ${unified}: limits and statistics of every kind.`,
      }
    case 'hybrid':
      return {
        title,
        status: 'warn',
        detail: `Hybrid: version 1 controllers beside a version 2 tree at ${unified}. Limits work; some programs (libvirt's LXC driver) do not start so.`,
        remedy:
          "Boot with 'systemd.unified_cgroup_hierarchy=1' on the kernel's command line to have version 2 alone.",
      }
    case 'v1':
      return {
        title,
        status: 'warn',
        detail: 'Version 1 only: limits work, but not pressure statistics or delegation to users.',
        remedy: "Boot with 'systemd.unified_cgroup_hierarchy=1' on the kernel's command line.",
      }
    default:
      return {
        title,
        status: 'warn',
        detail: 'None is mounted: guests run, but their processors, memory and I/O cannot be limited.',
        remedy: 'Run as root: mount -t cgroup2 none /sys/fs/cgroup',
      }
  }
}

/** What each controller limits; version 1 calls io `blkio`. */
const uses: readonly (readonly [readonly string[], string])[] = [
  [['cpu'], 'processor time'],
  [['memory'], 'memory'],
  [['io', 'blkio'], 'disk throughput'],
  [['cpuset'], 'which processors'],
  [['pids'], 'number of processes'],
]

function checkControllers({ files }: Subject): Finding | undefined {
  const { layout, controllers, unified } = readCgroups(files)
  if (layout === 'none') return undefined
  const title = 'Cgroup controllers'
  const missing = uses.filter(([names]) => !names.some((name) => controllers.has(name)))
  if (missing.length === 0) return { title, status: 'pass', detail: `${[...controllers].sort().join(', ')}.` }
  const lost = missing.map(([[name = ''], use]) => `${name} (${use})`).join(', ')
  return {
    title,
    status: 'warn',
    detail: `Missing: ${lost}; guests cannot be limited in this.`,
    remedy: unified
      ? `Allow them: in a session, set Delegate=yes on the user's systemd slice; as root, see ${unified}/cgroup.controllers and the kernel's command line for cgroup_disable.`
      : "Remove cgroup_disable from the kernel's command line, or mount the missing controllers.",
  }
}
