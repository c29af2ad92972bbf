/** The part `agent` of an open driver. */
import type { Agent } from '../../../driver/index.ts'
import type { GuestInfo } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { isRecord } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { talkToAgent } from './channel.ts'
import { execInGuest } from './exec.ts'
import { readGuestFile, writeGuestFile } from './files.ts'
import { freezeGuest, thawGuest } from './freeze.ts'
import { readCommands, readFilesystems, readInterfaces, readUsers, text } from './read-answers.ts'
import type { AgentSession } from './session.ts'

const defaultReadBytes = 64 * 1024 * 1024
/** Discarding the blocks of large disks takes its time. */
const trimTimeoutMs = 600_000

export function guestAgent(context: Context, registry: Registry): Required<Agent> {
  const running = (uuid: string) => registry.running(uuid, ['running'])
  const talk = <T>(uuid: string, work: (session: AgentSession) => Promise<T>) =>
    talkToAgent(context, running(uuid), work)

  return {
    info: (uuid) => talk(uuid, askInfo),
    interfaces: (uuid) =>
      talk(uuid, async (agent) => readInterfaces(await agent.execute('guest-network-get-interfaces'))),
    filesystems(uuid) {
      const { disks } = running(uuid).details.definition.devices
      return talk(uuid, async (agent) => readFilesystems(await agent.execute('guest-get-fsinfo'), disks))
    },
    users: (uuid) => talk(uuid, async (agent) => readUsers(await agent.execute('guest-get-users'))),
    exec: async (uuid, options) => execInGuest(context, running(uuid), options),
    readFile: (uuid, { path, maxBytes = defaultReadBytes, offset = 0 }) =>
      talk(uuid, (agent) => readGuestFile(agent, path, { maxBytes, offset })),
    writeFile: (uuid, { path, content, append = false }) =>
      talk(uuid, (agent) => writeGuestFile(agent, path, Buffer.from(content, 'base64'), append)),
    freeze: async (uuid, options) => freezeGuest(context, running(uuid), options),
    thaw: async (uuid) => thawGuest(context, running(uuid)),
    async trim(uuid, { minimumBytes } = {}) {
      const args = minimumBytes === undefined ? {} : { minimum: minimumBytes }
      await talk(uuid, (agent) => agent.execute('guest-fstrim', args, { timeoutMs: trimTimeoutMs }))
    },
    async setTime(uuid, { timeMs = Date.now() } = {}) {
      await talk(uuid, (agent) => agent.execute('guest-set-time', { time: timeMs * 1_000_000 }))
    },
    async setPassword(uuid, { user, password, crypted = false }) {
      const encoded = Buffer.from(password).toString('base64')
      await talk(uuid, (agent) =>
        agent.execute('guest-set-user-password', { username: user, password: encoded, crypted }),
      )
    },
  }
}

/** What the agent can be asked; what it does not know is left out. */
async function askInfo(agent: AgentSession): Promise<GuestInfo> {
  const info = await agent.execute('guest-info')
  const commands = readCommands(info)
  const ask = async (command: string): Promise<Record<string, unknown>> => {
    if (!commands.includes(command)) return {}
    const answer = await agent.execute(command).catch(() => undefined)
    return isRecord(answer) ? answer : { value: answer }
  }
  const host = await ask('guest-get-host-name')
  const system = await ask('guest-get-osinfo')
  const zone = await ask('guest-get-timezone')
  const { value: nanoseconds } = await ask('guest-get-time')
  return omitUnknown({
    agentVersion: text(isRecord(info) ? info.version : undefined),
    commands,
    hostname: text(host['host-name']),
    osName: text(system['pretty-name']) ?? text(system.name),
    kernel: text(system['kernel-release']),
    timezone: text(zone.zone) ?? (typeof zone.offset === 'number' ? `UTC${zone.offset / 3600}` : undefined),
    timeMs: typeof nanoseconds === 'number' ? Math.round(nanoseconds / 1e6) : undefined,
  })
}

function omitUnknown(info: { readonly [K in keyof GuestInfo]: GuestInfo[K] | undefined }): GuestInfo {
  return Object.fromEntries(Object.entries(info).filter(([, value]) => value !== undefined)) as GuestInfo
}
