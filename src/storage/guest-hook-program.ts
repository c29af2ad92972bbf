/**
 * The hook of the micro guest as a program: guest-hook.c, which says what it does, as machine code. The shell takes
 * three times as long for the same, in a guest that is emulated; it does what is not urgent.
 *
 * An ELF file with one segment (System V ABI, chapters 4 and 5). The code, of x86_64 (address 0x400078) and i686
 * (`-m32`, 0x400054), is made so:
 *
 *     gcc -Os -nostdlib -static -ffreestanding -fno-pie -no-pie -fno-stack-protector -fomit-frame-pointer \
 *       -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fno-toplevel-reorder \
 *       -fcf-protection=none -mno-sse -Wl,-N,-Ttext=0x400078,--build-id=none -o hook guest-hook.c
 *     objcopy -O binary -j .text -j '.rodata*' hook hook.bin
 */
const x86_64 =
  '41574531ff41564155415455534881ec180400004531e44c8d6c241031c0ba000400004b8d7425004c29e24889c70f054885' +
  'c07f1331ffb807000000bae80300004889fe0f05ebcc498d2c0431c0438a54250049ffc480fa0a0f8505010000498d5c0500' +
  '4c89e1bef60240004829c14889df48894c2408e841010000befc0240004889df4189c6e8310100004109c64585ff0f85ab00' +
  '00004585f67416803b707504c643016fb8010000004889c7e9a4000000be020340004889dfe8fd00000085c0740e488d7b08' +
  'e80c010000e98f000000be0b0340004889dfe8de00000085c07439b802000000bf17034000be41020000baa40100000f0548' +
  '8b5424084889c7488d730bb8010000004883ea0b0f0531f6b8030000004889f2eb43be270340004889dfe89400000085c074' +
  '16488b742408488d7b09b8aa00000031d24883ee0aeb1c4531ff4585f6bf03000000b801000000410f94c7488b5424084889' +
  'de0f054c89e04939ec0f85e1feffff4c89e94889c24829c14839ea7d0e418a7415004088341148ffc2ebed4829c54989ec48' +
  '81fd000400000f857bfeffff31c04c89ee4889ea4889c70f054531e44889c54885c00f8e7dfeffffe98ffeffff31c08a1406' +
  '84d2740d8a0c0748ffc038d174ef31c0c3b801000000c331c08a140780fa0a7412885404c048ffc04883f84075ebb8400000' +
  '00894424bcc1e0024531c0bf31034000894424b8b8020000004c89c24889c60f0541b9100000004889c7488d5424b8be0352' +
  '08404c89c80f05be075200004c89c84c89c20f05b8030000004c89c60f05c34989f84989f1b802000000bf17034000be4102' +
  '0000baa40100000f054889c74c89c6b8010000004c89ca0f0531d2b8030000004889d60f05c370696e672000646f6e652000' +
  '656e74726f707920006d616368696e652d696420002f6574632f6d616368696e652d696400686f73746e616d6520002f6465' +
  '762f7572616e646f6d00'
const i686 =
  '5557565331db81ec1c040000895c240431f68d6c2410ba00040000b80300000031db8d4c350029f2cd8085c07f1231c9b8a8' +
  '000000bae803000089cbcd80ebd001f08944240831c08a5435004680fa0a0f850e01000089f18d7c050029c1894c240c5353' +
  '68d502400057e84b0100005a5968db0240005789c3e83c01000083c41009c3837c2404000f85b700000085db7418803f7075' +
  '04c647016fb804000000bb01000000e9b0000000515168e102400057e80301000083c41085c0741483ec0c8d470850e81501' +
  '000083c410e990000000525268ea02400057e8db00000083c41085c07436b805000000bbf6024000b941020000baa4010000' +
  'cd808b54240c89c38d4f0bb80400000083ea0bcd808b4c2404b80600000089caeb445050680603400057e89100000083c410' +
  '85c074158b4c240c8b5424048d5f09b84a00000083e90aeb1b31c085dbbb030000000f94c089442404b8040000008b54240c' +
  '89f9cd8089f08b7c240839fe0f85d8feffff89e989c229c18b7c240839fa7d0a8a5c1500881c1142ebee89fe29c681fe0004' +
  '00000f857afeffffb80300000031db8d4c241089f2cd8031f68944240885c00f8e79feffffe98cfeffff538b4c240c31c08a' +
  '140184d274108b5c24088a1c034038d374ed31c0eb05b8010000005bc35731c0565383ec508b4c24608a140180fa0a740a88' +
  '5404104083f84075ee8944240c31f6c1e002bb1003400089442408b902000000b80500000089f2cd80bf3600000089c38d54' +
  '2408b90352084089f8cd80b90752000089f889f2cd80b80600000089f1cd8083c4505b5e5fc353b805000000bbf6024000b9' +
  '41020000baa4010000cd8089c38b4c24088b54240cb804000000cd8031d2b80600000089d1cd805bc370696e672000646f6e' +
  '652000656e74726f707920006d616368696e652d696420002f6574632f6d616368696e652d696400686f73746e616d652000' +
  '2f6465762f7572616e646f6d00'

/** Where the file is mapped. */
const address = 0x400000

/** The program for an architecture; undefined where there is none yet. */
export function guestHookProgram(arch: string): Buffer | undefined {
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
