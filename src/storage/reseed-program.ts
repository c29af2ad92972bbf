/**
 * A program for the micro guest that makes the kernel's random generator start from new entropy at once, which
 * busybox cannot: ioctls RNDADDENTROPY and RNDRESEEDCRNG on /dev/urandom, random(4). Without it, copies of one
 * running guest give the same random numbers for up to a minute. It waits for entropy on its standard input, a
 * line of hexadecimal digits at a time, and answers each with an empty line when it is in force: a program that
 * waits is there sooner than one that is started. Its exit code is 0 when its input ends.
 *
 * An ELF file with one segment (System V ABI, chapters 4 and 5) and some thirty machine instructions, by the
 * kernel's numbers of these calls.
 */

/**
 * fd = openat(AT_FDCWD, path, O_RDWR); while ((n = read(0, bytes, 128)) > 0) { ioctl(fd, RNDADDENTROPY, { 4 * n bits,
 * n, bytes }); ioctl(fd, RNDRESEEDCRNG); write(1, "\\n", 1) } exit(the last result); path and newline.
 */
const x86_64 =
  'bf9cffffff488d3581000000ba02000000b8010100000f0589c331ff488db42408ffffffba8000000031c00f0585c07e538d' +
  '0c8500000000898c2400ffffff89842404ffffff89dfbe03520840488d942400ffffffb8100000000f0589dfbe07520000b8' +
  '100000000f05bf01000000488d3524000000ba01000000b8010000000f05eb9689c7b83c0000000f052f6465762f7572616e' +
  '646f6d000a'
/** The same; a call over the path leaves its address. */
const i686 =
  'e80d0000002f6465762f7572616e646f6d005bb902000000b805000000cd8089c631db8d8c2408ffffffba80000000b80300' +
  '0000cd8085c07e5a8d0c8500000000898c2400ffffff89842404ffffff89f3b9035208408d942400ffffffb836000000cd80' +
  '89f3b907520000b836000000cd80c6842400ffffff0abb010000008d8c2400ffffffba01000000b804000000cd80eb8d89c3' +
  'b801000000cd80'

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
