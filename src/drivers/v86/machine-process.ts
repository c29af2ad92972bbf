/**
 * The program that runs one machine: `node machine-process.ts MACHINE.JSON`. It stands on its own feet: it
 * answers on a unix socket beside its configuration, prints to its logs, and writes down how it ended.
 */
import { readFileSync } from 'node:fs'
import { createServer, Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../../host/index.ts'
import { toVisorError } from '../../model/index.ts'
import { type Machine, startMachine } from './machine.ts'
import type { MachineConfig } from './machine-config.ts'
import {
  controlName,
  endName,
  formatLine,
  lineReader,
  type MachineEnd,
  type MachineEvent,
  type Reply,
  type Request,
} from './protocol.ts'

/** A request is short, but for what is typed. */
const mostRequestBytes = 4 * 2 ** 20
/** The driver's own end of a socket, which it gives its child. */
const ownerDescriptor = 3

const configFile = process.argv[2] ?? ''
const directory = dirname(configFile)
const listeners = new Set<Socket>()
let machine: Machine | undefined

process.title = 'visor-v86'
// A terminal's interrupt is for the daemon; the machine ends when it is told to, or killed.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})
process.on('uncaughtException', (error) => {
  console.error(error)
  void end({ reason: 'failed', message: error.message })
})

function tell(event: MachineEvent): void {
  for (const socket of listeners) socket.write(formatLine(event))
}

async function end(end: MachineEnd): Promise<void> {
  await writeFileAtomic(join(directory, endName), JSON.stringify(end), { durable: false }).catch(() => {})
  const flushed = [...listeners].map(
    (socket) => new Promise((resolve) => socket.end(() => resolve(undefined))),
  )
  await Promise.race([Promise.all(flushed), new Promise((resolve) => setTimeout(resolve, 500))])
  process.exit(end.reason === 'failed' ? 1 : 0)
}

function serve(socket: Socket): void {
  const read = lineReader(mostRequestBytes)
  listeners.add(socket)
  socket.on('error', () => {})
  socket.on('close', () => listeners.delete(socket))
  socket.on('data', (bytes) => {
    try {
      for (const request of read(bytes)) void answer(socket, request as Request)
    } catch {
      socket.destroy()
    }
  })
}

async function answer(socket: Socket, request: Request): Promise<void> {
  const { id } = request
  let reply: Reply
  try {
    reply = { id, result: (await machine?.obey(request)) ?? null }
  } catch (error) {
    const { code, message } = toVisorError(error)
    reply = { id, error: { code, message } }
  }
  if (!socket.destroyed) socket.write(formatLine(reply))
}

async function main(): Promise<void> {
  const config = JSON.parse(readFileSync(configFile, 'utf8')) as MachineConfig & { readonly version: string }
  serve(new Socket({ fd: ownerDescriptor, readable: true, writable: true }))
  try {
    await new Promise<void>((resolve, reject) => {
      const server = createServer(serve)
      server.once('error', reject)
      server.listen(join(directory, controlName), () => resolve())
    })
    machine = await startMachine(config, { version: config.version, tell, end: (how) => void end(how) })
    tell({ event: 'ready' })
  } catch (error) {
    const { code, message } = toVisorError(error)
    tell({ event: 'failed', error: { code, message } })
    await end({ reason: 'failed', message })
  }
}

await main()
