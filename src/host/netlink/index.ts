/** What is asked of the kernel by netlink(7). */
export { askKernel, attribute, netlinkOf } from './messages.ts'
export {
  changeElements,
  type ElementChange,
  type ElementPart,
  hasTable,
  mostElementsAtOnce,
  type NamedLimit,
  type SetElement,
} from './set-elements.ts'
export { openSockets } from './sockets.ts'
