// Annotations that more than one part reads: https://kubernetes.io/docs/reference/labels-annotations-taints/ .
#ifndef SKIFF_API_ANNOTATIONS_H_
#define SKIFF_API_ANNOTATIONS_H_

namespace skiff::api {

// On the API server's image of a pod that a kubelet has from elsewhere.
inline constexpr char kMirrorAnnotation[] = "kubernetes.io/config.mirror";

}  // namespace skiff::api

#endif  // SKIFF_API_ANNOTATIONS_H_
