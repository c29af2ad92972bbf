/**
 * Files to and from a guest by its agent, a part at a time. What comes is whole or not there: it is written beside its
 * place and moved to it. The guest is not trusted: sizes are bounded, and nothing that it says names a file here.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, posix } from 'node:path'
import type { CompleteConnection } from '../../driver/index.ts'
import { type Domain, VisorError } from '../../model/index.ts'

/** What the agent has to be able to do. */
export const copyCommands = ['guest-exec', 'guest-file-open', 'guest-file-read', 'guest-file-write']
/** As base64 in one request, with all else of it below 1 MiB. */
const writeBytes = 512 * 1024
const readBytes = 8 * 1024 * 1024
/** What is larger goes by ssh. */
const mostBytes = 64 * 2 ** 30
const patienceMs = 60_000

export interface AgentCopy {
  readonly connection: CompleteConnection
  readonly machine: Domain
  readonly signal: AbortSignal
  readonly onBytes: (done: number, total: number) => void
}

/** Copies a file of this host to a path of the guest. Resolves to where it is there, and its size. */
export async function copyIn(copy: AgentCopy, from: string, to: string) {
  const file = await open(from, 'r')
  try {
    const { size, mode, isFile } = await describe(file)
    if (!isFile) throw noFile(from)
    checkSize(from, size)
    const target = await targetInGuest(copy, to, basename(from))
    const near = posix.join(
      posix.dirname(target.path),
      `.${posix.basename(target.path).slice(0, 200)}.visor-`,
    )
    const scratch = (await inGuest(copy, 'mktemp', [`${near}XXXXXX`])).trimEnd()
    if (!scratch.startsWith(near))
      throw new VisorError('failed', `'mktemp' in the guest answers '${scratch}'.`)
    try {
      await sendBytes(copy, file, scratch, size)
      const owner = target.there && `${target.there.uid}:${target.there.gid}`
      if (owner !== undefined) await inGuest(copy, 'chown', [owner, scratch])
      await inGuest(copy, 'chmod', [mode.toString(8), scratch])
      await inGuest(copy, 'mv', ['-f', scratch, target.path])
    } catch (error) {
      await inGuest(copy, 'rm', ['-f', scratch]).catch(() => {})
      throw error
    }
    return { path: target.path, size }
  } finally {
    await file.close()
  }
}

async function sendBytes(copy: AgentCopy, file: FileHandle, path: string, size: number): Promise<void> {
  const { connection, machine, signal, onBytes } = copy
  const buffer = Buffer.alloc(Math.min(writeBytes, size))
  for (let done = 0; done < size; ) {
    checkSignal(signal)
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - done), done)
    if (bytesRead === 0) throw new VisorError('conflict', 'The file became shorter while it was copied.')
    const content = buffer.toString('base64', 0, bytesRead)
    await connection.agent.writeFile(machine.uuid, { path, content, append: done > 0 })
    done += bytesRead
    onBytes(done, size)
  }
  const there = await statInGuest(copy, path)
  if (there?.size !== size)
    throw new VisorError('failed', `The guest has ${there?.size ?? 'none'} of ${size} bytes.`)
}

/** Copies a file of the guest to a path of this host. Resolves to where it is here, and its size. */
export async function copyOut(copy: AgentCopy, from: string, to: string) {
  const { machine } = copy
  const there = await statInGuest(copy, from)
  if (!there)
    throw new VisorError('not-found', `There is no '${from}' in '${machine.name}'.`, {
      remedy: `Look for it: 'visor exec ${machine.name} -- ls -l ${posix.dirname(from)}'.`,
    })
  if (!there.isFile) throw noFile(from)
  checkSize(from, there.size)
  const path = await targetHere(to, posix.basename(from))
  const scratch = join(
    dirname(path),
    `.${basename(path).slice(0, 200)}.visor-${randomBytes(6).toString('hex')}`,
  )
  const file = await open(scratch, 'wx', 0o600)
  try {
    await receiveBytes(copy, from, file, there.size)
    await file.chmod(there.mode)
    await file.close()
    await rename(scratch, path)
  } catch (error) {
    await file.close().catch(() => {})
    await rm(scratch, { force: true })
    throw error
  }
  return { path, size: there.size }
}

async function receiveBytes(copy: AgentCopy, path: string, file: FileHandle, size: number): Promise<void> {
  const { connection, machine, signal, onBytes } = copy
  for (let offset = 0; offset < size; ) {
    checkSignal(signal)
    const maxBytes = Math.min(readBytes, size - offset)
    const bytes = await connection.agent.readFile(machine.uuid, { path, maxBytes, offset })
    if (bytes.length === 0 || bytes.length > maxBytes)
      throw new VisorError('conflict', `'${path}' of the guest changed while it was copied.`, {
        remedy: 'Copy it again when nobody writes to it.',
      })
    await file.write(bytes, 0, bytes.length, offset)
    offset += bytes.length
    onBytes(offset, size)
  }
}

interface GuestFile {
  readonly isFile: boolean
  readonly isFolder: boolean
  readonly mode: number
  readonly size: number
  readonly uid: number
  readonly gid: number
}

/** What is at a path of the guest; undefined when nothing is. Source: stat(1), of coreutils and of busybox. */
async function statInGuest(copy: AgentCopy, path: string): Promise<GuestFile | undefined> {
  const { exitCode, stdout, stderr } = await runInGuest(copy, 'stat', ['-L', '-c', '%f %s %u %g', path])
  if (exitCode !== 0) {
    if (/No such file/u.test(stderr)) return undefined
    throw guestFailed('stat', stderr)
  }
  const fields = /^([0-9a-f]{1,8}) (\d{1,15}) (\d{1,10}) (\d{1,10})\n?$/u.exec(stdout)
  if (!fields) throw guestFailed('stat', stdout)
  const [, bits = '', size, uid, gid] = fields
  const mode = Number.parseInt(bits, 16)
  return {
    isFile: (mode & 0xf000) === 0x8000,
    isFolder: (mode & 0xf000) === 0x4000,
    mode: mode & 0o777,
    ...{ size: Number(size), uid: Number(uid), gid: Number(gid) },
  }
}

/** A file is put into a folder by its own name, as cp(1) does; what a link leads to is replaced, not the link. */
async function targetInGuest(copy: AgentCopy, to: string, name: string) {
  const first = await statInGuest(copy, to)
  if (!first && to.endsWith('/'))
    throw new VisorError('not-found', `There is no folder '${to}' in '${copy.machine.name}'.`, {
      remedy: `Make it: 'visor exec ${copy.machine.name} -- mkdir -p ${to}'.`,
    })
  const path = first?.isFolder ? posix.join(to, name) : to
  const there = first?.isFolder ? await statInGuest(copy, path) : first
  if (there && !there.isFile) throw noFile(path)
  return { path: there ? (await inGuest(copy, 'readlink', ['-f', path])).replace(/\n$/u, '') : path, there }
}

async function targetHere(to: string, name: string): Promise<string> {
  const first = await stat(to).catch(() => undefined)
  const path = first?.isDirectory() ? join(to, name) : to
  const there = first?.isDirectory() ? await stat(path).catch(() => undefined) : first
  if (there && !there.isFile()) throw noFile(path)
  return there ? realpath(path) : path
}

async function describe(file: FileHandle) {
  const found = await file.stat()
  return { size: found.size, mode: found.mode & 0o777, isFile: found.isFile() }
}

async function runInGuest({ connection, machine }: AgentCopy, program: string, args: readonly string[]) {
  const env = ['LC_ALL=C', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin']
  const options = { program, args, env, timeoutMs: patienceMs }
  const ended = await connection.agent.exec(machine.uuid, options)
  const text = (base64: string) => Buffer.from(base64, 'base64').toString('utf8')
  return { exitCode: ended.exitCode, stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

async function inGuest(copy: AgentCopy, program: string, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runInGuest(copy, program, args)
  if (exitCode !== 0) throw guestFailed(program, stderr)
  return stdout
}

const guestFailed = (program: string, said: string): VisorError =>
  new VisorError('failed', `'${program}' in the guest says: ${said.trim().slice(0, 500) || 'nothing'}`)

const noFile = (path: string): VisorError =>
  new VisorError('invalid-argument', `'${path}' is not a file.`, {
    remedy: 'Folders are copied with -r, over ssh.',
  })

function checkSize(path: string, size: number): void {
  if (size > mostBytes)
    throw new VisorError('invalid-argument', `'${path}' is larger than 64 GiB.`, {
      remedy: 'Copy it over ssh (--via ssh), or give the machine a disk with it.',
    })
}

function checkSignal(signal: AbortSignal): void {
  if (signal.aborted) throw new VisorError('cancelled', 'Cancelled.')
}
