/**
 * The few calls of the C library that Node does not have. koffi is loaded at the first of them: it costs some 30 ms
 * and 4 MB, which a daemon that needs none does not pay.
 */
import { chmodSync, closeSync, lchownSync } from 'node:fs'
import type { Socket } from 'node:net'
import { getSystemErrorMessage } from 'node:util'
import type { LibraryHandle } from 'koffi'
import { VisorError } from '../model/index.ts'

/** Who is at the other end of a unix socket, as the kernel vouches for it. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

// From <sys/socket.h> and <asm-generic/socket.h>, the same on x86-64 and arm64.
const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_DOMAIN = 39
const SO_PEERCRED = 17
const SCM_RIGHTS = 1
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const EAGAIN = 11

/** `struct msghdr` of <sys/socket.h> on 64-bit systems. */
interface MessageHeader {
  readonly msg_name: null
  readonly msg_namelen: 0
  readonly msg_iov: readonly [{ readonly iov_base: Buffer; readonly iov_len: number }]
  readonly msg_iovlen: 1
  readonly msg_control: Buffer
  readonly msg_controllen: number
  readonly msg_flags: 0
}

export interface Calls {
  readonly getsockopt: (fd: number, level: number, name: number, value: Buffer, length: Uint32Array) => number
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly sendto: (
    fd: number,
    bytes: Buffer,
    length: number,
    flags: number,
    to: Buffer,
    size: number,
  ) => number
  /** As `sendto`, by another thread: some of what is sent to the kernel takes long. */
  readonly sendInThread: (...args: Parameters<Calls['sendto']>) => Promise<number>
  readonly recv: (fd: number, bytes: Buffer, length: number, flags: number) => number
  readonly sendmsg: (fd: number, message: MessageHeader, flags: number) => number
  readonly close: (fd: number) => number
  readonly bind: (fd: number, address: Buffer, size: number) => number
  readonly listen: (fd: number, backlog: number) => number
  /** syscall(2) of open_tree and mount_setattr, which older C libraries have no functions for. */
  readonly openTree: (number: number, folder: number, path: string, flags: number) => number
  readonly setMount: (
    number: number,
    fd: number,
    path: string,
    flags: number,
    attributes: Buffer,
    size: number,
  ) => number
  /** poll(2), waited for by another thread. */
  readonly poll: (files: Buffer, count: number, timeoutMs: number) => Promise<number>
  readonly ioctl: (fd: number, request: number, argument: Buffer) => number
  /** ioctl(2) about a link, netdevice(7): its name, and what is asked or said. */
  readonly linkControl: (
    fd: number,
    request: number,
    argument: { readonly ifr_name: string; readonly ifr_data: Buffer; readonly rest: 0 },
  ) => number
  readonly lgetxattr: (path: string, name: string, value: Buffer, size: number) => number
  readonly getxattr: Calls['lgetxattr']
  readonly setxattr: (path: string, name: string, value: Buffer, size: number, flags: number) => number
  readonly getrlimit: (resource: number, limits: BigUint64Array) => number
  readonly setrlimit: (resource: number, limits: BigUint64Array) => number
  readonly prlimit: (pid: number, resource: number, limits: BigUint64Array, before: BigUint64Array) => number
  /** lseek(2) with SEEK_DATA and SEEK_HOLE, which Node has not. */
  readonly lseek: (fd: number, offset: number, whence: number) => number
  /** fallocate(2), waited for by another thread. */
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => Promise<number>
  /** glibc's own; other C libraries have none. */
  readonly trim: ((keep: number) => number) | undefined
  readonly errno: () => number
}

let calls: Promise<Calls> | undefined

/** Loads the C library, once; call it early where the first use should not wait. */
export function loadCalls(): Promise<Calls> {
  calls ??= bind()
  return calls
}

async function bind(): Promise<Calls> {
  const { default: koffi } = await import('koffi')
  const libc = koffi.load(null)
  koffi.struct('iovec', { iov_base: 'const uint8_t *', iov_len: 'size_t' })
  koffi.struct('msghdr', {
    msg_name: 'void *',
    msg_namelen: 'uint32_t',
    msg_iov: 'iovec *',
    msg_iovlen: 'size_t',
    msg_control: 'const uint8_t *',
    msg_controllen: 'size_t',
    msg_flags: 'int',
  })
  koffi.struct('ifreq', {
    ifr_name: koffi.array('char', 16, 'String'),
    ifr_data: 'uint8_t *',
    rest: 'uint64_t',
  })
  const sendto = libc.func('int64 sendto(int, const uint8_t *, uint64, int, const uint8_t *, uint32)')
  return {
    getsockopt: libc.func('int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ uint32_t *)'),
    socket: libc.func('int socket(int, int, int)'),
    sendto,
    sendInThread: inThread(sendto),
    recv: libc.func('int64 recv(int, _Out_ uint8_t *, uint64, int)'),
    sendmsg: libc.func('int64 sendmsg(int, const msghdr *, int)'),
    close: libc.func('int close(int)'),
    bind: libc.func('int bind(int, const uint8_t *, uint32)'),
    listen: libc.func('int listen(int, int)'),
    openTree: libc.func('syscall', 'long', ['long', 'int', 'const char *', 'uint32']),
    setMount: libc.func('syscall', 'long', [
      ...['long', 'int', 'const char *', 'uint32', 'const uint8_t *', 'uint64'],
    ]),
    poll: inThread(libc.func('int poll(uint8_t *, unsigned long, int)')),
    ioctl: libc.func('int ioctl(int, unsigned long, _Inout_ uint8_t *)'),
    linkControl: libc.func('int ioctl(int, unsigned long, const ifreq *)'),
    lgetxattr: libc.func('int64 lgetxattr(const char *, const char *, _Out_ uint8_t *, uint64)'),
    getxattr: libc.func('int64 getxattr(const char *, const char *, _Out_ uint8_t *, uint64)'),
    setxattr: libc.func('int setxattr(const char *, const char *, const uint8_t *, uint64, int)'),
    getrlimit: libc.func('int getrlimit(int, _Out_ uint64_t *)'),
    setrlimit: libc.func('int setrlimit(int, const uint64_t *)'),
    prlimit: libc.func('int prlimit(int, int, const uint64_t *, _Out_ uint64_t *)'),
    lseek: libc.func('int64 lseek(int, int64, int)'),
    fallocate: inThread(libc.func('int fallocate(int, int, int64, int64)')),
    trim: findTrim(libc),
    errno: () => koffi.errno(),
  }
}

/** Calls a function by a thread of Node's pool; its arguments must stay as they are meanwhile. */
function inThread<A extends unknown[]>(
  call: ReturnType<LibraryHandle['func']>,
): (...args: A) => Promise<number> {
  return (...args) =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: Error | null, result: number) => (error ? reject(error) : resolve(result)))
    })
}

function findTrim(libc: LibraryHandle): Calls['trim'] {
  try {
    return libc.func('int malloc_trim(size_t)')
  } catch {
    return undefined
  }
}

/** Gives memory that the C library keeps for later back to the system (malloc_trim(3)). */
export async function trimMemory(): Promise<void> {
  const { trim } = await loadCalls()
  trim?.(0)
}

/**
 * Who connected a unix socket (SO_PEERCRED, unix(7)): as they were when they connected. Undefined when the
 * socket is not a unix one, or closed already.
 */
export async function peerCredentials(socket: Socket): Promise<PeerCredentials | undefined> {
  const { getsockopt } = await loadCalls()
  const fd = descriptorOf(socket)
  if (fd === undefined) return undefined
  const domain = Buffer.alloc(4)
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, domain, Uint32Array.of(4)) !== 0) return undefined
  // A TCP socket answers SO_PEERCRED too, with nobody.
  if (domain.readInt32LE() !== AF_UNIX) return undefined
  const credentials = Buffer.alloc(12)
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, Uint32Array.of(12)) !== 0) return undefined
  const [pid, uid, gid] = [
    credentials.readInt32LE(0),
    credentials.readUInt32LE(4),
    credentials.readUInt32LE(8),
  ]
  return { pid, uid, gid }
}

/** The number of a socket's open file; undefined once it is closed. Node has no public way to it. */
function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as Socket & { readonly _handle?: { readonly fd?: number } | null })._handle?.fd
  return fd === undefined || fd < 0 ? undefined : fd
}

/**
 * Sends a short text with an open file over a unix socket, behind all that was written to it before (SCM_RIGHTS,
 * unix(7)). Resolves when it is sent; fails with a plain error when it cannot be.
 */
export async function sendFile(socket: Socket, text: string, file: number): Promise<void> {
  const { sendmsg, errno } = await loadCalls()
  const bytes = Buffer.from(text)
  const control = Buffer.alloc(24)
  control.writeBigUInt64LE(20n, 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  control.writeInt32LE(file, 16)
  for (let tries = 0; tries < 1_000; tries++) {
    while (socket.writableLength > 0) await new Promise((resolve) => setImmediate(resolve))
    const fd = descriptorOf(socket)
    if (fd === undefined) throw new Error('the socket is closed')
    const sent = sendmsg(
      fd,
      {
        ...{ msg_name: null, msg_namelen: 0, msg_iov: [{ iov_base: bytes, iov_len: bytes.length }] },
        ...{ msg_iovlen: 1, msg_control: control, msg_controllen: control.length, msg_flags: 0 },
      },
      MSG_NOSIGNAL | MSG_DONTWAIT,
    )
    if (sent > 0) {
      if (sent < bytes.length) socket.write(bytes.subarray(sent))
      return
    }
    if (errno() !== EAGAIN) throw new Error(`sendmsg failed (error ${errno()})`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error('the other side does not read')
}

/**
 * Sends one datagram to a unix socket; `path` begins with `/`, or with `@` for a name of Linux's abstract
 * namespace (unix(7)). False when it could not be sent.
 */
export async function sendDatagram(path: string, text: string): Promise<boolean> {
  const { socket, sendto, close } = await loadCalls()
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`)
  if (name.length > 108) return false
  const address = Buffer.concat([Uint8Array.of(AF_UNIX, 0), name])
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (fd < 0) return false
  try {
    const bytes = Buffer.from(text)
    return sendto(fd, bytes, bytes.length, MSG_NOSIGNAL, address, address.length) === bytes.length
  } finally {
    close(fd)
  }
}

/**
 * Listens on a unix socket for a program that is to be given it; gives the number of the open socket. Whoever may
 * reach it is `user`, or who we are. Fails with `failed`.
 */
export async function listenFor(path: string, user?: { uid: number; gid: number }): Promise<number> {
  const { socket, bind, listen, errno } = await loadCalls()
  const name = Buffer.from(`${path}\0`)
  const address = Buffer.concat([Uint8Array.of(AF_UNIX, 0), name])
  const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
  const refuse = (number: number) =>
    new VisorError('failed', `The socket '${path}' cannot be made: ${getSystemErrorMessage(-number)}.`)
  if (fd < 0) throw refuse(errno())
  try {
    if (bind(fd, address, address.length) !== 0) throw refuse(errno())
    // Nobody can connect before it listens.
    chmodSync(path, 0o600)
    if (user) lchownSync(path, user.uid, user.gid)
    if (listen(fd, 1) !== 0) throw refuse(errno())
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
