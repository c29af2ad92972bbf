/** What devices of all kinds have: a place on a bus, a name, a place in the boot order. */
import { aNumber, oneWord, unknown } from '../domain-words.ts'
import * as s from '../schema.ts'

const Address = s.object('Address', 'Place of a device on its bus', {
  type: s.choice('kind of address', ['pci', 'drive', 'virtio-serial', 'ccid', 'usb', 'isa'], {
    xml: '@type',
  }),
  domain: s.string('PCI domain', { xml: '@domain', optional: true, ...aNumber }),
  controller: s.string('controller index', { xml: '@controller', optional: true, ...aNumber }),
  bus: s.string('bus number', { xml: '@bus', optional: true, ...aNumber }),
  slot: s.string('PCI slot', { xml: '@slot', optional: true, ...aNumber }),
  function: s.string('PCI function', { xml: '@function', optional: true, ...aNumber }),
  multifunction: s.boolean('whether other functions share the slot', {
    xml: '@multifunction',
    as: 'on-off',
    optional: true,
  }),
  target: s.string('drive target', { xml: '@target', optional: true, ...aNumber }),
  unit: s.string('drive unit', { xml: '@unit', optional: true, ...aNumber }),
  port: s.string('USB or virtio-serial port', {
    xml: '@port',
    optional: true,
    pattern: /^\d{1,5}(?:\.\d{1,5}){0,5}$/u,
    patternName: "a port such as '1' or '1.2'",
  }),
  unknown,
})
export const address = s.field(Address, { xml: 'address', optional: true, generated: true })
export const alias = s.string('name of the device in the hypervisor', {
  xml: 'alias/@name',
  optional: true,
  generated: true,
  inert: true,
  maxLength: 256,
  ...oneWord,
})
/** The end of every device in libvirt's output. */
export const deviceOrder = 'boot alias master rom address'

export const bootOrder = s.integer('place in the boot order, from 1', {
  xml: 'boot/@order',
  optional: true,
  min: 1,
  max: 9999,
})
