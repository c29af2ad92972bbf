import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDefinition } from '../../../../model/index.ts'
import { refuseNotHad } from './not-had.ts'

const machine = (more: string, attributes = '') =>
  parseDefinition(
    `<domain type='kvm'><name>one</name><memory>131072</memory><vcpu${attributes}>1</vcpu><os><type>hvm</type></os>${more}</domain>`,
    'xml',
  )
const hostWith = (content: Readonly<Record<string, string>>) => ({ read: (path: string) => content[path] })
const refused = (more: string, message: RegExp, content = {}, attributes = '') =>
  assert.throws(
    () => refuseNotHad(machine(more, attributes), hostWith(content)),
    (error: { code?: string }) => {
      assert.equal(error.code, 'unsupported-config')
      assert.match(String(error), message)
      return true
    },
  )

test('encrypted memory is refused with what the host lacks', () => {
  const security = (kind: string) => `<launchSecurity type='${kind}'><policy>0x3</policy></launchSecurity>`
  const sev = '/sys/module/kvm_amd/parameters/sev'
  refused(security('sev'), /no SEV of AMD \(\/sys\/module\/kvm_amd\/parameters\/sev is not there\)/u)
  refused(security('sev'), /SEV of AMD is switched off on this host \(.* is 'N'\)/u, { [sev]: 'N\n' })
  refused(security('sev'), /this host has SEV of AMD, but no driver here/u, { [sev]: 'Y\n' })
  refused(security('tdx'), /no TDX of Intel/u)
  refused(security('other'), /no such kind/u)
})

test('what is not to be had is refused with its reason', () => {
  refused("<features><msrs unknown='ignore'/></features>", /features\.msrs: KVM answers/u)
  refused('<memtune><min_guarantee>1024</min_guarantee></memtune>', /memtune\/min_guarantee: no memory/u)
  refused('', /vcpuPlacement: .*numad/u, {}, " placement='auto'")
  refused("<numatune><memory mode='restrictive' nodeset='0'/></numatune>", /numatune\.mode: .*'restrictive'/u)
  refused("<cpu match='strict'><model>qemu64</model></cpu>", /cpu\.match: .*not 'strict'/u)
  refuseNotHad(machine("<cpu match='exact'><model>qemu64</model></cpu>"))
})
