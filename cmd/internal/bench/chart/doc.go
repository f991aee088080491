// Package chart draws lines over two axes as a self-contained SVG: no script, no font, nothing from a network.
//
//	  |                 __ series, with bars from low to high
//	Y |        ___----''
//	  | __--'''
//	  +--------------------      ticks where the caller wants them, positions on a logarithm if asked for
//	            X
//	  - name   - name            legend
//
// Colours are the CSS variables --series-1 to --series-8 (Colours) of the page around it, --line for the grid and the text
// colour for the rest, so a picture follows the page from light to dark; Style is a style sheet that sets them. What a mark
// means is said in a tooltip.
//
// What it promises: the output is well-formed XML whatever the names are, and finite whatever the values are: points that
// have no place on an axis (NaN, or not above zero on a logarithm) are left out.
//
// Start reading at Chart.SVG.
package chart
