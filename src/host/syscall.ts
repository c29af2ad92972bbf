/**
 * The few calls of the C library that Node does not have. koffi is loaded at the first of them: it costs some 30 ms
 * and 4 MB, which a daemon that needs none does not pay.
 */
import type { Socket } from 'node:net'
import type { LibraryHandle } from 'koffi'

/** Who is at the other end of a unix socket, as the kernel vouches for it. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

// From <sys/socket.h> and <asm-generic/socket.h>, the same on x86-64 and arm64.
const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_DOMAIN = 39
const SO_PEERCRED = 17
const MSG_NOSIGNAL = 0x4000

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
  readonly close: (fd: number) => number
  readonly ioctl: (fd: number, request: number, argument: Buffer) => number
  readonly lgetxattr: (path: string, name: string, value: Buffer, size: number) => number
  readonly getxattr: Calls['lgetxattr']
  readonly setxattr: (path: string, name: string, value: Buffer, size: number, flags: number) => number
  readonly getrlimit: (resource: number, limits: BigUint64Array) => number
  readonly setrlimit: (resource: number, limits: BigUint64Array) => number
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
  return {
    getsockopt: libc.func('int getsockopt(int, int, int, _Out_ uint8_t *, _Inout_ uint32_t *)'),
    socket: libc.func('int socket(int, int, int)'),
    sendto: libc.func('int64 sendto(int, const uint8_t *, uint64, int, const uint8_t *, uint32)'),
    close: libc.func('int close(int)'),
    ioctl: libc.func('int ioctl(int, unsigned long, _Inout_ uint8_t *)'),
    lgetxattr: libc.func('int64 lgetxattr(const char *, const char *, _Out_ uint8_t *, uint64)'),
    getxattr: libc.func('int64 getxattr(const char *, const char *, _Out_ uint8_t *, uint64)'),
    setxattr: libc.func('int setxattr(const char *, const char *, const uint8_t *, uint64, int)'),
    getrlimit: libc.func('int getrlimit(int, _Out_ uint64_t *)'),
    setrlimit: libc.func('int setrlimit(int, const uint64_t *)'),
    trim: findTrim(libc),
    errno: () => koffi.errno(),
  }
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
  // Node has no public way to the number; it is gone once the socket is closed.
  const fd = (socket as Socket & { readonly _handle?: { readonly fd?: number } | null })._handle?.fd
  if (fd === undefined || fd < 0) return undefined
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
