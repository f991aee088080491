package observe

import (
	"net/http"
	"strconv"
	"strings"
)

// Media types of the pages.
const (
	mediaText = "text/plain"
	mediaJSON = "application/json"
	mediaHTML = "text/html"
)

// negotiate returns the offer that a request accepts with the greatest weight, the first one among
// equals. The first offer is returned if none is accepted (RFC 9110, 12.5.1).
func negotiate(r *http.Request, offers ...string) string {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	best, greatest := offers[0], 0.0
	for _, offer := range offers {
		if w := weight(accept, offer); w > greatest {
			best, greatest = offer, w
		}
	}
	return best
}

// weight returns the weight of a media type in an Accept header, 0 if it is not accepted. The most
// specific range that fits counts.
func weight(accept, media string) (w float64) {
	kind, _, _ := strings.Cut(media, "/")
	closest := 0
	for part := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(part, ";")
		fit := 0
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case media:
			fit = 3
		case kind + "/*":
			fit = 2
		case "*/*":
			fit = 1
		}
		if fit > closest {
			closest, w = fit, quality(parameters)
		}
	}
	return w
}

// quality returns the q among the parameters of a media range; 1 without one, 0 if it is malformed.
func quality(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
