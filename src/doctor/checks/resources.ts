import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Limit, readHugePages, readLimits, readMemory } from '../../host/index.ts'
import type { CheckTable, Finding, Subject } from '../subject.ts'
import { formatKiB } from '../text.ts'

export const resources: CheckTable = {
  id: 'resources',
  title: 'Resources and limits',
  checks: {
    memory: checkMemory,
    'state-space': checkStateSpace,
    'huge-pages': checkHugePages,
    iommu: checkIommu,
    'open-files': checkOpenFiles,
    'locked-memory': checkLockedMemory,
    processes: checkProcesses,
    inotify: checkInotify,
    entropy: checkEntropy,
  },
}

const gib = 2 ** 20

function checkMemory({ files }: Subject): Finding {
  const { totalKiB, availableKiB } = readMemory(files)
  const detail = `${formatKiB(availableKiB)} of ${formatKiB(totalKiB)} can be given to guests.`
  if (availableKiB >= gib) return { title: 'Memory', status: 'pass', detail }
  return {
    title: 'Memory',
    status: 'warn',
    detail,
    remedy: 'Stop what is not needed, or add memory or swap.',
  }
}

async function checkStateSpace({ directories }: Subject): Promise<Finding> {
  const title = 'Space for disks and states'
  const found = await statNearest(directories.state)
  const freeKiB = Math.floor((Number(found.bavail) * Number(found.bsize)) / 1024)
  const detail = `${formatKiB(freeKiB)} free where ${directories.state} is.`
  if (freeKiB >= 5 * gib) return { title, status: 'pass', detail }
  return {
    title,
    status: freeKiB < gib / 4 ? 'fail' : 'warn',
    detail: `${detail} Images, disks and saved states go there.`,
    remedy: 'Free some, or set VISOR_STATE_DIR to a directory on a larger disk.',
  }
}

/** The directory need not be made yet: its parents tell which filesystem it will be on. */
async function statNearest(path: string): ReturnType<typeof statfs> {
  return await statfs(path).catch((error) => {
    if (path === '/') throw error
    return statNearest(dirname(path))
  })
}

function checkHugePages({ files }: Subject): Finding {
  const title = 'Huge pages'
  const sizes = readHugePages(files)
  const reserved = sizes.filter(({ total }) => total > 0)
  if (sizes.length === 0)
    return {
      title,
      status: 'info',
      detail: 'Not in this kernel; guests use small or transparent huge pages.',
    }
  if (reserved.length > 0)
    return {
      title,
      status: 'pass',
      detail: `${reserved.map(({ sizeKiB, total, free }) => `${free} of ${total} free of ${formatKiB(sizeKiB)}`).join('; ')}.`,
    }
  return {
    title,
    status: 'info',
    detail: `None reserved (sizes: ${sizes.map(({ sizeKiB }) => formatKiB(sizeKiB)).join(', ')}); only guests that ask for them need them.`,
    remedy: 'To reserve 1 GiB, run as root: sysctl vm.nr_hugepages=512',
  }
}

function checkIommu({ files, environment, processor }: Subject): Finding {
  const title = 'IOMMU'
  const groups = files.list('/sys/kernel/iommu_groups')
  if (groups.length > 0)
    return { title, status: 'pass', detail: `${groups.length} groups: host devices can be handed to guests.` }
  const option = processor.vendor === 'AMD' ? 'amd_iommu=on' : 'intel_iommu=on'
  return {
    title,
    status: 'info',
    detail: 'No groups: host devices cannot be handed to guests. Nothing else needs it.',
    remedy: environment.virtual
      ? 'Give this virtual machine a virtual IOMMU on the outer host, if devices shall be handed on.'
      : `Enable VT-d or AMD-Vi in the firmware setup and boot with '${option} iommu=pt'.`,
  }
}

function limitOf({ files }: Subject, name: string): Limit {
  return readLimits(files).get(name) ?? { soft: Number.POSITIVE_INFINITY, hard: Number.POSITIVE_INFINITY }
}

function checkOpenFiles(subject: Subject): Finding {
  const title = 'Open files'
  const { soft, hard } = limitOf(subject, 'Max open files')
  // Node raises the soft limit to the hard one by itself.
  if (hard >= 8192)
    return { title, status: 'pass', detail: `${hard} (now ${soft}); each guest takes about five in visord.` }
  return {
    title,
    status: 'warn',
    detail: `At most ${hard}; each guest takes about five in visord, so some hundred guests will do.`,
    remedy: 'Set LimitNOFILE=65536 in the unit, or raise it in /etc/security/limits.conf.',
  }
}

function checkLockedMemory(subject: Subject): Finding {
  const title = 'Locked memory'
  const { hard } = limitOf(subject, 'Max locked memory')
  if (hard === Number.POSITIVE_INFINITY) return { title, status: 'pass', detail: 'Not limited.' }
  return {
    title,
    status: 'info',
    detail: `At most ${formatKiB(hard / 1024)}; guests with locked memory or host devices need all of theirs.`,
    remedy: 'For such guests, set LimitMEMLOCK=infinity in the unit.',
  }
}

function checkProcesses(subject: Subject): Finding {
  const title = 'Processes and threads'
  const { soft } = limitOf(subject, 'Max processes')
  if (soft >= 4096)
    return {
      title,
      status: 'pass',
      detail: soft === Number.POSITIVE_INFINITY ? 'Not limited.' : `At most ${soft}.`,
    }
  return {
    title,
    status: 'warn',
    detail: `At most ${soft}; a guest takes one per virtual processor and some for its I/O.`,
    remedy: 'Raise nproc in /etc/security/limits.conf, or LimitNPROC in the unit.',
  }
}

function checkInotify({ files }: Subject): Finding | undefined {
  const value = (name: string) => files.read(`/proc/sys/fs/inotify/${name}`)?.trim()
  const instances = Number(value('max_user_instances'))
  if (!instances) return undefined
  const title = 'inotify'
  const detail = `${instances} instances and ${value('max_user_watches')} watches for each user`
  if (instances >= 512) return { title, status: 'pass', detail: `${detail}.` }
  return {
    title,
    status: 'info',
    detail: `${detail}; each container with a full system takes about five instances.`,
    remedy: 'With many containers, run as root: sysctl fs.inotify.max_user_instances=1024',
  }
}

function checkEntropy({ files }: Subject): Finding | undefined {
  const bits = Number(files.read('/proc/sys/kernel/random/entropy_avail'))
  if (!Number.isFinite(bits) || bits === 0) return undefined
  // Kernels since 5.18 say 256 when the generator is seeded; older ones count up to 4096.
  return bits >= 200
    ? { title: 'Random numbers', status: 'pass', detail: `The generator is seeded (${bits} bits).` }
    : {
        title: 'Random numbers',
        status: 'warn',
        detail: `Only ${bits} bits are there; programs that want random numbers may wait.`,
        remedy: 'Install rng-tools, or give this virtual machine a virtio random device.',
      }
}
