import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatModuleIndex } from './kernel-modules.ts'
import { moduleName, parseModuleInfo } from './modinfo.ts'

/** An object file of 64 or 32 bits with one section `.modinfo` and the table of section names. */
function objectFile(texts: readonly string[], wide: boolean): Buffer {
  const info = Buffer.from(`${texts.join('\0')}\0`)
  const names = Buffer.from('\0.modinfo\0.shstrtab\0')
  const [headerSize, entrySize] = wide ? [64, 64] : [52, 40]
  const table = headerSize + info.length + names.length
  const file = Buffer.alloc(table + 3 * entrySize)
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1])
  info.copy(file, headerSize)
  names.copy(file, headerSize + info.length)
  const word = (value: number, at: number) =>
    wide ? file.writeBigUInt64LE(BigInt(value), at) : file.writeUInt32LE(value, at)
  word(table, wide ? 0x28 : 0x20)
  file.writeUInt16LE(entrySize, wide ? 0x3a : 0x2e)
  file.writeUInt16LE(3, wide ? 0x3c : 0x30)
  file.writeUInt16LE(2, wide ? 0x3e : 0x32)
  const section = (index: number, name: number, at: number, size: number) => {
    const header = table + index * entrySize
    file.writeUInt32LE(name, header)
    word(at, header + (wide ? 0x18 : 0x10))
    word(size, header + (wide ? 0x20 : 0x14))
  }
  section(1, 1, headerSize, info.length)
  section(2, 10, headerSize + info.length, names.length)
  return file
}

const texts = [
  'license=GPL',
  'alias=pci:v00001AF4d*',
  'alias=fs-x',
  'depends=virtio,net-failover',
  'name=virtio_net',
]

for (const wide of [true, false])
  test(`a module of ${wide ? 64 : 32} bits tells its name, needs and aliases`, () => {
    assert.deepEqual(parseModuleInfo(objectFile(texts, wide), 'drivers/net/virtio_net.ko'), {
      name: 'virtio_net',
      depends: ['virtio', 'net-failover'],
      aliases: ['pci:v00001AF4d*', 'fs-x'],
    })
  })

test('a module without a name has that of its file', () => {
  assert.equal(parseModuleInfo(objectFile(['depends='], true), 'a/8139-cp.ko').name, '8139_cp')
  assert.equal(moduleName('kernel/drivers/net/net-failover.ko.zst'), 'net_failover')
})

test('what is no module, or cut short anywhere, is refused', () => {
  const file = objectFile(texts, true)
  for (const broken of [Buffer.alloc(0), Buffer.from('hello'), Buffer.alloc(1000, 0xff)])
    assert.throws(() => parseModuleInfo(broken, 'x.ko'), { code: 'failed' })
  for (let length = 0; length < file.length; length += 7) {
    try {
      parseModuleInfo(file.subarray(0, length), 'x.ko')
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'failed')
    }
  }
})

test('the index names what a module needs, the first to load at the end', () => {
  const module = (name: string, depends: string[] = []) => ({
    name,
    depends,
    aliases: [`for-${name}`],
    content: Buffer.alloc(0),
  })
  const { dep, alias } = formatModuleIndex([
    module('virtio_ring'),
    module('virtio', ['virtio_ring']),
    module('virtio-pci', ['virtio_ring', 'virtio']),
  ])
  assert.equal(dep, 'virtio_ring.ko:\nvirtio.ko: virtio_ring.ko\nvirtio_pci.ko: virtio.ko virtio_ring.ko\n')
  assert.match(alias, /^alias for-virtio-pci virtio_pci$/mu)
})
