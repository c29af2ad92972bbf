import { join } from 'node:path'
import { run } from '../../host/index.ts'
import { installRemedy, type Packages } from '../packages.ts'
import type { CheckFunction, CheckTable, Finding, Subject } from '../subject.ts'

/** A program that some part of visor starts. */
interface Tool {
  /** Names it has, best first. */
  readonly programs: readonly string[]
  readonly use: string
  readonly packages: Packages
  /** How it tells its version; `--version` without this. None: it has no way that is safe to call. */
  readonly version?: readonly string[] | 'none'
  /** Missing it takes away what most people come for. */
  readonly wanted?: true
}

const tools: Readonly<Record<string, Tool>> = {
  qemu: {
    programs: ['qemu-system-x86_64', 'qemu-kvm'],
    use: 'full machines',
    packages: {
      debian: 'qemu-system-x86',
      fedora: 'qemu-kvm',
      suse: 'qemu-x86',
      arch: 'qemu-system-x86',
      alpine: 'qemu-system-x86_64',
    },
    wanted: true,
  },
  'qemu-img': {
    programs: ['qemu-img'],
    use: 'creating and converting disk images',
    packages: {
      debian: 'qemu-utils',
      fedora: 'qemu-img',
      suse: 'qemu-img',
      arch: 'qemu-img',
      alpine: 'qemu-img',
    },
    wanted: true,
  },
  swtpm: {
    programs: ['swtpm'],
    use: 'machines with a TPM',
    packages: { debian: 'swtpm', fedora: 'swtpm', suse: 'swtpm', arch: 'swtpm', alpine: 'swtpm' },
  },
  virtiofsd: {
    programs: ['virtiofsd'],
    use: 'folders shared with machines',
    packages: {
      debian: 'virtiofsd',
      fedora: 'virtiofsd',
      suse: 'virtiofsd',
      arch: 'virtiofsd',
      alpine: 'virtiofsd',
    },
  },
  passt: {
    programs: ['passt'],
    use: 'fast networking of machines without root',
    packages: { debian: 'passt', fedora: 'passt', suse: 'passt', arch: 'passt', alpine: 'passt' },
  },
  ip: {
    programs: ['ip'],
    use: 'networks: links, addresses and routes',
    packages: {
      debian: 'iproute2',
      fedora: 'iproute',
      suse: 'iproute2',
      arch: 'iproute2',
      alpine: 'iproute2',
    },
    version: ['-V'],
  },
  nft: {
    programs: ['nft'],
    use: 'networks: NAT and filters',
    packages: {
      debian: 'nftables',
      fedora: 'nftables',
      suse: 'nftables',
      arch: 'nftables',
      alpine: 'nftables',
    },
  },
  dnsmasq: {
    programs: ['dnsmasq'],
    use: 'networks: DHCP and names',
    packages: {
      debian: 'dnsmasq-base',
      fedora: 'dnsmasq',
      suse: 'dnsmasq',
      arch: 'dnsmasq',
      alpine: 'dnsmasq',
    },
  },
  lxc: {
    programs: ['lxc-start'],
    use: 'LXC containers',
    packages: { debian: 'lxc', fedora: 'lxc', suse: 'lxc', arch: 'lxc', alpine: 'lxc' },
  },
  docker: {
    programs: ['dockerd'],
    use: 'Docker containers',
    packages: {
      debian: 'docker.io',
      fedora: 'moby-engine',
      suse: 'docker',
      arch: 'docker',
      alpine: 'docker',
    },
  },
  xen: {
    programs: ['xl'],
    use: 'Xen guests, on a host that Xen booted',
    packages: { debian: 'xen-system-amd64', fedora: 'xen', suse: 'xen-tools' },
    // xl speaks only to a running Xen, and waits for it.
    version: 'none',
  },
  mmdebstrap: {
    programs: ['mmdebstrap'],
    use: 'images of whole Debian systems',
    packages: { debian: 'mmdebstrap', fedora: 'mmdebstrap', arch: 'mmdebstrap' },
  },
  'apt-get': {
    programs: ['apt-get'],
    use: 'building the micro image from packages',
    packages: { debian: 'apt', fedora: 'apt' },
  },
  virsh: {
    programs: ['virsh'],
    use: 'people who know its commands: it can speak to visord too',
    packages: {
      debian: 'libvirt-clients',
      fedora: 'libvirt-client',
      suse: 'libvirt-client',
      arch: 'libvirt',
      alpine: 'libvirt-client',
    },
  },
}

export const toolTable: CheckTable = {
  id: 'tools',
  title: 'Tools',
  checks: {
    ...Object.fromEntries(
      Object.entries(tools).map(([id, tool]): [string, CheckFunction] => [
        `tool-${id}`,
        (subject) => examine(tool, subject),
      ]),
    ),
    'tool-qemu-others': checkOtherEmulators,
  },
}

async function examine(tool: Tool, subject: Subject): Promise<Finding> {
  const [title = ''] = tool.programs
  const program = findProgram(tool.programs, subject)
  if (!program)
    return {
      title,
      status: tool.wanted ? 'warn' : 'info',
      detail: `Not installed; needed for ${tool.use}.`,
      remedy: installRemedy(subject.packages, tool.packages),
    }
  const version =
    tool.version === 'none' ? undefined : await readVersion(program, tool.version, subject.signal)
  if (version instanceof Error)
    return {
      title,
      status: tool.wanted ? 'fail' : 'warn',
      detail: `${program} is there but does not start (${version.message}); needed for ${tool.use}.`,
      remedy: `Repair it. ${installRemedy(subject.packages, tool.packages).replace('install ', 'install --reinstall ')}`,
    }
  return { title, status: 'pass', detail: `${version ? `${version}, ` : ''}${program}; for ${tool.use}.` }
}

/** The first of these programs that can be started, as a full path. */
function findProgram(programs: readonly string[], { files, programPath }: Subject): string | undefined {
  return programs
    .flatMap((program) => programPath.map((folder) => join(folder, program)))
    .find((path) => files.permits(path, 'execute'))
}

/** What stands for a version in the first lines that it prints; an error when it does not even start. */
async function readVersion(
  program: string,
  args: readonly string[] = ['--version'],
  signal: AbortSignal,
): Promise<string | undefined | Error> {
  try {
    const { code, stdout, stderr } = await run(program, args, { signal, timeoutMs: 5000, maxBytes: 65536 })
    const text = `${stdout}\n${stderr}`
    if (code === 127 || code === 126) return new Error(text.trim().split('\n')[0] ?? `exit code ${code}`)
    return /\d+\.\d+(?:\.\d+)*/u.exec(text)?.[0]
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function checkOtherEmulators({ files, programPath }: Subject): Finding {
  const prefix = 'qemu-system-'
  const found = programPath.flatMap((folder) => files.list(folder)).filter((name) => name.startsWith(prefix))
  const names = [...new Set(found.map((name) => name.slice(prefix.length)))]
    .filter((name) => name !== 'x86_64')
    .sort()
  const title = 'qemu-system-*'
  return names.length > 0
    ? { title, status: 'pass', detail: `Machines of other architectures: ${names.join(', ')}.` }
    : {
        title,
        status: 'info',
        detail: 'None for other architectures; only needed for machines of such.',
        remedy: 'On Debian, run: apt-get install qemu-system-arm (or -ppc, -misc, ...)',
      }
}
