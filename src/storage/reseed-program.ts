/**
 * A program for the micro guest that makes the kernel's random generator start from its entropy pool at once,
 * which busybox cannot: ioctl RNDRESEEDCRNG on /dev/urandom, random(4). Without it, copies of one running
 * guest give the same random numbers for up to a minute. Its exit code is 0 when that was done.
 *
 * An ELF file with one segment (System V ABI, chapters 4 and 5) and some twenty machine instructions: open,
 * ioctl, exit, by the kernel's numbers of these calls.
 */

/** openat(AT_FDCWD, path, O_RDWR); ioctl(fd, 0x5207); exit(result); and the path. */
const x86_64 =
  'bf9cffffff488d3523000000ba02000000b8010100000f0589c7be07520000b8100000000f0589c7b83c0000000f05' +
  '2f6465762f7572616e646f6d00'
/** call, over the path, whose address it leaves; open, ioctl, exit. */
const i686 =
  'e80d0000002f6465762f7572616e646f6d005bb902000000b805000000cd8089c3b907520000b836000000cd8089c3b801000000cd80'

/** Where the file is mapped. */
const address = 0x400000

/** The program for an architecture; undefined where there is none yet. */
export function reseedProgram(arch: string): Buffer | undefined {
  if (arch === 'x86_64') return formatElf({ bits: 64, machine: 62, code: Buffer.from(x86_64, 'hex') })
  if (arch === 'i686') return formatElf({ bits: 32, machine: 3, code: Buffer.from(i686, 'hex') })
  return undefined
}

interface Program {
  readonly bits: 32 | 64
  /** e_machine */
  readonly machine: number
  readonly code: Buffer
}

function formatElf({ bits, machine, code }: Program): Buffer {
  const wide = bits === 64
  const [headBytes, segmentBytes] = wide ? [64, 56] : [52, 32]
  const start = headBytes + segmentBytes
  const bytes: number[] = []
  const half = (value: number) => void bytes.push(value & 0xff, value >> 8)
  const word = (value: number) => {
    half(value & 0xffff)
    half(value >>> 16)
  }
  const long = (value: number) => {
    word(value)
    if (wide) word(0)
  }
  // e_ident: magic, class, little-endian, version 1
  bytes.push(0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1, ...Array<number>(9).fill(0))
  half(2) // e_type: executable
  half(machine)
  word(1)
  long(address + start) // e_entry
  long(headBytes) // e_phoff
  long(0)
  word(0)
  for (const value of [headBytes, segmentBytes, 1, 0, 0, 0]) half(value)
  const flags = 5 // readable and executable
  word(1) // PT_LOAD
  if (wide) word(flags)
  long(0)
  long(address)
  long(address)
  long(start + code.length)
  long(start + code.length)
  if (!wide) word(flags)
  long(0x1000)
  return Buffer.concat([Buffer.from(bytes), code])
}
