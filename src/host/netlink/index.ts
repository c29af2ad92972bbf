/** What is asked of the kernel by netlink(7). */
export { addBridge, bringUp } from './links.ts'
export { askKernel, attribute, netlinkOf } from './messages.ts'
export { listLinks, listRoutes, mainTable } from './routes.ts'
export {
  changeElements,
  type ElementChange,
  type ElementPart,
  hasTable,
  mostElementsAtOnce,
  type NamedLimit,
  readGeneration,
  type SetElement,
} from './set-elements.ts'
export { openSockets } from './sockets.ts'
