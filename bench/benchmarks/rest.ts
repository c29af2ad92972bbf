import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { libvirtDefinition, makeGuest, visorDefinition } from '../guest.ts'
import { type Benchmark, timedEach, type Workbench } from '../harness.ts'
import { openVisord } from '../ours/visord.ts'
import { openLibvirt } from '../peers/libvirt.ts'
import { endChild } from '../processes.ts'

const calls = 200
const bareServer = join(import.meta.dirname, '../peers/node-http.ts')

/** One after another on one connection that stays open, over unix sockets. */
export const rest: Benchmark = {
  id: 'rest',
  title: 'Round trip of one small question over a unix socket',
  unit: 'us',
  async prepare(bench) {
    const guest = await makeGuest(bench.directory)
    const { socket, connection } = await openVisord(bench)
    const { uuid } = await connection.domains.define(visorDefinition(guest))
    const libvirt = await openLibvirt(bench)
    await libvirt?.call({ op: 'define', xml: libvirtDefinition(guest) })
    const bare = await startBareServer(bench)
    const askLibvirt = async (op: 'info' | 'version') =>
      ((await libvirt?.call(op === 'info' ? { op, name: guest.name, count: calls } : { op, count: calls })) ??
        0) * 1000
    return [
      { name: 'bare node:http', ours: false, sample: () => timedEach(calls, asker(bench, bare, '/')) },
      {
        name: 'visor, GET /healthz',
        ours: true,
        sample: () => timedEach(calls, asker(bench, socket, '/healthz')),
      },
      {
        name: 'visor, GET a domain',
        ours: true,
        sample: () => timedEach(calls, asker(bench, socket, `/v1/domains/${uuid}`)),
      },
      {
        name: 'visor, client.domains.get',
        ours: true,
        sample: () => timedEach(calls, () => connection.domains.get(uuid)),
      },
      ...(libvirt
        ? [
            { name: 'libvirt, its version', ours: false, sample: () => askLibvirt('version') },
            { name: 'libvirt, domain info', ours: false, sample: () => askLibvirt('info') },
          ]
        : []),
    ]
  },
}

async function startBareServer(bench: Workbench): Promise<string> {
  const socket = join(bench.directory, 'bare.sock')
  const child = spawn(process.execPath, [bareServer, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  bench.defer(() => endChild(child))
  await once(child.stdout, 'data')
  return socket
}

const agents = new Map<string, Agent>()

/** Sends a GET and reads the answer to its end. */
function asker(bench: Workbench, socketPath: string, path: string): () => Promise<void> {
  const agent = agents.get(socketPath) ?? new Agent({ keepAlive: true, maxSockets: 1 })
  if (!agents.has(socketPath)) bench.defer(() => agents.delete(socketPath) && agent.destroy())
  agents.set(socketPath, agent)
  return () =>
    new Promise((resolve, reject) => {
      const sent = request({ socketPath, path, agent }, (response) => {
        response.on('error', reject)
        response.on('end', () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`GET ${path}: ${response.statusCode}`)),
        )
        response.resume()
      })
      sent.on('error', reject)
      sent.end()
    })
}
