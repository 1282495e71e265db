-- Countries: the two letters of ISO 3166-1 from what people write.

local country = {}

-- Two letters, three letters, English names in use, each as `plain` leaves it.
local list = [[
  AD AND andorra
  AE ARE united arab emirates, emirates, uae
  AF AFG afghanistan
  AG ATG antigua and barbuda
  AI AIA anguilla
  AL ALB albania
  AM ARM armenia
  AO AGO angola
  AQ ATA antarctica
  AR ARG argentina
  AS ASM american samoa
  AT AUT austria
  AU AUS australia
  AW ABW aruba
  AX ALA aland islands, aland
  AZ AZE azerbaijan
  BA BIH bosnia and herzegovina
  BB BRB barbados
  BD BGD bangladesh
  BE BEL belgium
  BF BFA burkina faso
  BG BGR bulgaria
  BH BHR bahrain
  BI BDI burundi
  BJ BEN benin
  BL BLM saint barthelemy
  BM BMU bermuda
  BN BRN brunei darussalam, brunei
  BO BOL bolivia
  BQ BES bonaire, caribbean netherlands
  BR BRA brazil
  BS BHS bahamas
  BT BTN bhutan
  BV BVT bouvet island
  BW BWA botswana
  BY BLR belarus
  BZ BLZ belize
  CA CAN canada
  CC CCK cocos keeling islands, cocos islands, keeling islands
  CD COD dr congo, democratic republic of the congo, democratic republic of congo, congo kinshasa
  CF CAF central african republic
  CG COG congo, republic of the congo, congo brazzaville
  CH CHE switzerland
  CI CIV cote divoire, ivory coast
  CK COK cook islands
  CL CHL chile
  CM CMR cameroon
  CN CHN china, peoples republic of china, mainland china
  CO COL colombia
  CR CRI costa rica
  CU CUB cuba
  CV CPV cabo verde, cape verde
  CW CUW curacao
  CX CXR christmas island
  CY CYP cyprus
  CZ CZE czechia, czech republic
  DE DEU germany
  DJ DJI djibouti
  DK DNK denmark
  DM DMA dominica
  DO DOM dominican republic
  DZ DZA algeria
  EC ECU ecuador
  EE EST estonia
  EG EGY egypt
  EH ESH western sahara
  ER ERI eritrea
  ES ESP spain
  ET ETH ethiopia
  FI FIN finland
  FJ FJI fiji
  FK FLK falkland islands
  FM FSM micronesia
  FO FRO faroe islands
  FR FRA france
  GA GAB gabon
  GB GBR united kingdom, great britain, britain, uk, england, scotland, wales, northern ireland
  GD GRD grenada
  GE GEO georgia
  GF GUF french guiana
  GG GGY guernsey
  GH GHA ghana
  GI GIB gibraltar
  GL GRL greenland
  GM GMB gambia
  GN GIN guinea
  GP GLP guadeloupe
  GQ GNQ equatorial guinea
  GR GRC greece
  GS SGS south georgia and the south sandwich islands
  GT GTM guatemala
  GU GUM guam
  GW GNB guinea bissau
  GY GUY guyana
  HK HKG hong kong, hong kong sar
  HM HMD heard island and mcdonald islands
  HN HND honduras
  HR HRV croatia
  HT HTI haiti
  HU HUN hungary
  ID IDN indonesia
  IE IRL ireland, republic of ireland
  IL ISR israel
  IM IMN isle of man
  IN IND india
  IO IOT british indian ocean territory
  IQ IRQ iraq
  IR IRN iran
  IS ISL iceland
  IT ITA italy
  JE JEY jersey
  JM JAM jamaica
  JO JOR jordan
  JP JPN japan
  KE KEN kenya
  KG KGZ kyrgyzstan
  KH KHM cambodia
  KI KIR kiribati
  KM COM comoros
  KN KNA saint kitts and nevis
  KP PRK north korea
  KR KOR south korea, republic of korea, korea
  KW KWT kuwait
  KY CYM cayman islands
  KZ KAZ kazakhstan
  LA LAO laos
  LB LBN lebanon
  LC LCA saint lucia
  LI LIE liechtenstein
  LK LKA sri lanka
  LR LBR liberia
  LS LSO lesotho
  LT LTU lithuania
  LU LUX luxembourg
  LV LVA latvia
  LY LBY libya
  MA MAR morocco
  MC MCO monaco
  MD MDA moldova
  ME MNE montenegro
  MF MAF saint martin
  MG MDG madagascar
  MH MHL marshall islands
  MK MKD north macedonia, macedonia
  ML MLI mali
  MM MMR myanmar, burma
  MN MNG mongolia
  MO MAC macao, macau
  MP MNP northern mariana islands
  MQ MTQ martinique
  MR MRT mauritania
  MS MSR montserrat
  MT MLT malta
  MU MUS mauritius
  MV MDV maldives
  MW MWI malawi
  MX MEX mexico
  MY MYS malaysia
  MZ MOZ mozambique
  NA NAM namibia
  NC NCL new caledonia
  NE NER niger
  NF NFK norfolk island
  NG NGA nigeria
  NI NIC nicaragua
  NL NLD netherlands, holland
  NO NOR norway
  NP NPL nepal
  NR NRU nauru
  NU NIU niue
  NZ NZL new zealand
  OM OMN oman
  PA PAN panama
  PE PER peru
  PF PYF french polynesia
  PG PNG papua new guinea
  PH PHL philippines
  PK PAK pakistan
  PL POL poland
  PM SPM saint pierre and miquelon
  PN PCN pitcairn, pitcairn islands
  PR PRI puerto rico
  PS PSE palestine
  PT PRT portugal
  PW PLW palau
  PY PRY paraguay
  QA QAT qatar
  RE REU reunion
  RO ROU romania
  RS SRB serbia
  RU RUS russian federation, russia
  RW RWA rwanda
  SA SAU saudi arabia
  SB SLB solomon islands
  SC SYC seychelles
  SD SDN sudan
  SE SWE sweden
  SG SGP singapore
  SH SHN saint helena
  SI SVN slovenia
  SJ SJM svalbard and jan mayen
  SK SVK slovakia
  SL SLE sierra leone
  SM SMR san marino
  SN SEN senegal
  SO SOM somalia
  SR SUR suriname
  SS SSD south sudan
  ST STP sao tome and principe
  SV SLV el salvador
  SX SXM sint maarten, saint maarten
  SY SYR syrian arab republic, syria
  SZ SWZ eswatini, swaziland
  TC TCA turks and caicos islands, turks and caicos
  TD TCD chad
  TF ATF french southern territories
  TG TGO togo
  TH THA thailand
  TJ TJK tajikistan
  TK TKL tokelau
  TL TLS timor leste, east timor
  TM TKM turkmenistan
  TN TUN tunisia
  TO TON tonga
  TR TUR turkiye, turkey
  TT TTO trinidad and tobago
  TV TUV tuvalu
  TW TWN taiwan
  TZ TZA tanzania
  UA UKR ukraine
  UG UGA uganda
  UM UMI united states minor outlying islands, us minor outlying islands
  US USA united states, united states of america, america
  UY URY uruguay
  UZ UZB uzbekistan
  VA VAT vatican city, vatican, holy see
  VC VCT saint vincent and the grenadines, saint vincent
  VE VEN venezuela
  VG VGB british virgin islands
  VI VIR us virgin islands, united states virgin islands
  VN VNM viet nam, vietnam
  VU VUT vanuatu
  WF WLF wallis and futuna
  WS WSM samoa
  YE YEM yemen
  YT MYT mayotte
  ZA ZAF south africa
  ZM ZMB zambia
  ZW ZWE zimbabwe
]]

-- Letters with accents that occur in names of countries; all are two bytes, the first of them 195.
local letters = {
  ["\195\133"] = "a", ["\195\165"] = "a", -- A with ring
  ["\195\131"] = "a", ["\195\163"] = "a", -- A with tilde
  ["\195\135"] = "c", ["\195\167"] = "c", -- C with cedilla
  ["\195\137"] = "e", ["\195\169"] = "e", -- E with acute
  ["\195\141"] = "i", ["\195\173"] = "i", -- I with acute
  ["\195\148"] = "o", ["\195\180"] = "o", -- O with circumflex
  ["\195\156"] = "u", ["\195\188"] = "u", -- U with diaeresis
}

-- "St. Kitts & Nevis" as "saint kitts and nevis".
local function plain(name)
  name = name:gsub("\195.", letters):lower()
  name = name:gsub("\226\128\153", ""):gsub("[.']", ""):gsub("&", " and ")
  name = name:gsub("[^a-z0-9\128-\255]+", " "):gsub("^ ", ""):gsub(" $", "")
  return (name:gsub("^the ", ""):gsub("^st ", "saint "))
end

local codes = {}
for two, three, names in list:gmatch("(%u%u) (%u%u%u) ([^\n]+)") do
  codes[three:lower()] = two
  for name in names:gmatch("[^,]+") do
    codes[plain(name)] = two
  end
end

local LONGEST = 100 -- bytes; no country's name is longer

--- The two letters of a country.
-- @param name two letters (any that are not "UK" are taken as they are), three letters, or an English name, in any case
-- @return "US", or nil when it is not known
function country.code(name)
  if type(name) ~= "string" or #name > LONGEST then
    return nil
  end
  local text = plain(name)
  return codes[text] or (text:find("^%a%a$") and text:upper()) or nil
end

return country
