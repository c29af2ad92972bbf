/**
 * The embedded machine: a 32-bit PC emulated by v86, each in a process of its own. It needs nothing installed
 * but npm packages and a firmware, so it serves where nothing may be installed, on a laptop and in CI.
 */

import manifest from '../../../package.json' with { type: 'json' }
import { type Connection, type Driver, eventHub, type OpenOptions } from '../../driver/index.ts'
import { readHostInfo } from '../../host/index.ts'
import { type Capabilities, VisorError } from '../../model/index.ts'
import { openDomains } from './domains.ts'
import { openHypervisor } from './hypervisor.ts'
import { readVersion } from './launch.ts'
import { probe } from './probe.ts'

export const driver: Driver = { scheme: 'v86', domainTypes: ['v86'], probe, open: openV86 }

/** Opens `v86:///system` or `v86:///session`, which differ in their directories only. */
async function openV86(uri: URL, options: OpenOptions): Promise<Connection> {
  if (uri.pathname !== '/system' && uri.pathname !== '/session')
    throw new VisorError('invalid-argument', `The driver v86 has no '${uri.pathname}'.`, {
      remedy: 'Open v86:///system or v86:///session.',
    })
  const version = await readVersion()
  const hub = eventHub()
  const hypervisor = await openHypervisor(options, (event) => hub.emit(event))
  return {
    uri: uri.href,
    host: {
      info: async () => readHostInfo(manifest.version),
      capabilities: async () => [capabilities(version)],
    },
    domains: openDomains(hypervisor),
    events: (eventOptions) => hub.listen(eventOptions),
    async close() {
      hub.close()
      await hypervisor.close()
    },
  }
}

function capabilities(version: string): Capabilities {
  return {
    driver: 'v86',
    version,
    kind: 'emulation',
    hosting: 'library',
    guests: [
      {
        arch: 'i686',
        osType: 'hvm',
        domainTypes: ['v86'],
        machines: ['pc'],
        defaultMachine: 'pc',
        cpuModels: [],
      },
    ],
    notes: [
      'One 32-bit processor, emulated in software: some twenty times slower than the host.',
      'Disks are raw images, written in place.',
      'One network card, on a network or a bridge.',
      'A kernel that is booted directly needs more than 64 MiB and its initial RAM disk as memory.',
    ],
  }
}
