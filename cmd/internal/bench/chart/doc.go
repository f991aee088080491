// Package chart draws lines over two axes as a self-contained SVG: no script, no font, nothing from
// a network.
//
//	  |                 __ series, with bars from low to high
//	Y |        ___----''
//	  | __--'''
//	  +--------------------      ticks as given by the caller, on a logarithmic axis if asked for
//	            X
//	  - name   - name            legend
//
// Colours are the CSS variables --series-1 to --series-8 (Colours) of the page around it, --line
// for the grid and the text colour for the rest, so a chart follows the page from light to dark.
// Style is a style sheet that sets them. Each mark has a tooltip.
//
// What it promises: the output is well-formed XML for any names, and finite for any values. What XML
// cannot contain, such as control characters and bytes that are not UTF-8, is shown as U+FFFD. Points that
// have no position on an axis (NaN, infinite, or not above zero on a logarithmic axis) are left out.
//
// Start reading at Chart.SVG.
package chart
