export { openImages } from './images.ts'
